"""What is built: the same Jobs for every contestant, whoever creates them."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from copr_operator.api.build import BuildSpec, BuildStatus, PackageStatus, SourceStatus, SrpmStatus
from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.project import ProjectChroot, ProjectSpec, ProjectStatus
from copr_operator.core import manifests, names
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import BuildView, Observed, ProjectView

OWNER, PROJECT = "alice", "demo"
IMAGE = "bench:none"
RESULTS_URL = "https://copr.example"
_UID = "00000000-0000-0000-0000-000000000000"
_SOURCE = {"type": "link", "link": {"url": "http://sources.example/hello.src.rpm"}}


@dataclass(frozen=True)
class Shape:
    """One source Job and `chroots` Jobs after it. None of them: the SRPM's ExclusiveArch rules the only chroot out."""

    chroots: int

    def __str__(self) -> str:
        return f"1+{self.chroots}"

    @property
    def jobs(self) -> int:
        return 1 + self.chroots

    @property
    def names(self) -> list[str]:
        return [f"fedora-{40 + number}-x86_64" for number in range(max(1, self.chroots))]


SINGLE = Shape(0)


def build(shape: Shape) -> dict[str, Any]:
    """A new CoprBuild; the API server names it."""
    spec = {"owner": OWNER, "project": PROJECT, "source": _SOURCE, "chroots": shape.names}
    return _object("CoprBuild", {"generateName": "build-"}, spec)


def project(shape: Shape) -> dict[str, Any]:
    spec = {"owner": OWNER, "name": PROJECT, "chroots": [{"name": name} for name in shape.names]}
    return _object("CoprProject", {"name": PROJECT}, spec)


def chroots(shape: Shape) -> list[dict[str, Any]]:
    return [
        _object("CoprChroot", {"name": name.replace("_", "-")}, {"name": name, "image": IMAGE, "arch": "x86_64"})
        for name in shape.names
    ]


def _object(kind: str, metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


class JobMaker:
    """The operator's own Job manifests, rendered once, for those who create them without the operator."""

    def __init__(self, shape: Shape, namespace: str, backend_url: str) -> None:
        config = OperatorConfig(namespace, IMAGE, IMAGE, backend_url, RESULTS_URL)
        observed = _observed(shape, namespace)
        steps = (names.SOURCE_STEP, *shape.names)[: shape.jobs]
        self._templates = {step: json.dumps(manifests.job(observed, step, 1, config)) for step in steps}

    def job(self, step: str, uid: str, owner: str | None) -> dict[str, Any]:
        """The step's Job of the build with this uid and name. No owner: it belongs to nothing."""
        head, other = _UID.replace("-", "")[:10], uid.replace("-", "")[:10]
        text = self._templates[step].replace(_UID, uid).replace(f"cb-{head}", f"cb-{other}")
        manifest: dict[str, Any] = json.loads(text)
        if owner is None:
            del manifest["metadata"]["ownerReferences"]
        else:
            manifest["metadata"]["ownerReferences"][0]["name"] = owner
        return manifest


def _observed(shape: Shape, namespace: str) -> Observed:
    """A build whose SRPM is there, so that every one of its Jobs can be rendered."""
    now = datetime.now(UTC)
    spec = {"owner": OWNER, "project": PROJECT, "source": _SOURCE, "chroots": shape.names}
    srpm = SrpmStatus(url=f"{RESULTS_URL}/results/hello-2.8-1.src.rpm", sha256="a" * 64)
    source = SourceStatus(state="succeeded", package=PackageStatus(name="hello", version="2.8-1"), srpm=srpm)
    status = BuildStatus(id=1000, state="pending", source=source)
    of_project = ProjectSpec(owner=OWNER, name=PROJECT, chroots=[ProjectChroot(name=name) for name in shape.names])
    return Observed(
        build=BuildView("build", namespace, _UID, 1, "1", now, BuildSpec.model_validate(spec), status),
        now=now,
        project=ProjectView("demo", namespace, "project-uid", 1, "1", now, of_project, ProjectStatus()),
        chroots={name: ChrootSpec(name=name, image=IMAGE, arch="x86_64") for name in shape.names},
    )
