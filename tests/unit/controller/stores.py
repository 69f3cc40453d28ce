"""A store that is watched, and what it is fed."""

from dataclasses import replace
from typing import Any

from copr_operator.api.build import BuildStatus, ChrootStatus
from copr_operator.api.chroot import ChrootSpec
from copr_operator.controller.store import Key, Store
from copr_operator.core.observed import BuildView, ChrootView
from tests.support.builders import D12, T0

HERE = "copr-operator"


class Watched(Store):
    """A store that notes whom it wakes."""

    def __init__(self) -> None:
        self.woken: list[Key] = []
        super().__init__(self.woken.append, HERE)

    def names(self) -> list[str]:
        """Names of the builds woken since the last call, sorted."""
        found = sorted(key.name for key in self.woken if key.kind == "build")
        self.woken.clear()
        return found

    def see(self, view: BuildView, kind: str | None = "MODIFIED") -> None:
        meta = {"namespace": view.namespace, "name": view.name, "uid": view.uid}
        self.build_event(kind, {"metadata": meta}, view)


def in_chroots(view: BuildView, *names: str) -> BuildView:
    chroots = [ChrootStatus(name=name, state="pending") for name in names]
    return replace(view, status=BuildStatus(state="pending", chroots=chroots))


def chroot(
    name: str = D12, version: int = 1, *, object_name: str = "", uid: str = "", namespace: str = HERE, **spec: Any
) -> ChrootView:
    object_name = object_name or name.replace("_", "-")
    wanted = ChrootSpec.model_validate({"name": name, "image": "image:1", "arch": "x86_64", **spec})
    return ChrootView(object_name, namespace, uid or f"uid-{object_name}", str(version), T0, wanted)
