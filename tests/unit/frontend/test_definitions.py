"""Package definitions are written while the controller writes their status."""

from typing import Any

import pytest

from copr_operator.api.package import PackageSpec
from copr_operator.core.views import project_view
from copr_operator.frontend.cache import Cache
from copr_operator.frontend.definitions import Definitions
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.records import PackageRecord, package_record
from copr_operator.kube.client import ApiError
from tests.unit.frontend.test_cache import project
from tests.unit.frontend.test_present import RESULTS

SPEC = {"owner": "alice", "project": "demo", "name": "hello", "buildOnChange": True}
WANTED = PackageSpec.model_validate({**SPEC, "maxBuilds": 3})


class FakeKube:
    """One CoprPackage. `meanwhile`: what others make of it before each write."""

    def __init__(self) -> None:
        meta = {"name": "hello", "namespace": "ns", "uid": "u", "resourceVersion": "1"}
        self.obj: dict[str, Any] | None = {"metadata": meta, "spec": SPEC}
        self.created: list[dict[str, Any]] = []
        self.meanwhile: list[dict[str, Any] | None] = []

    def change(self, body: dict[str, Any] | None) -> None:
        if body is None or self.obj is None:
            self.obj = None
            return
        version = str(int(self.obj["metadata"]["resourceVersion"]) + 1)
        self.obj = {**self.obj, **body, "metadata": {**self.obj["metadata"], "resourceVersion": version}}

    async def replace(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.meanwhile:
            self.change(self.meanwhile.pop(0))
        if self.obj is None:
            raise ApiError(404, "NotFound", "")
        if body["metadata"]["resourceVersion"] != self.obj["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "")
        self.change({"spec": body["spec"]})
        assert self.obj is not None
        return self.obj

    async def find(self, _path: str) -> dict[str, Any] | None:
        return self.obj

    async def create(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.created.append(body)
        meta = {**body["metadata"], "namespace": "ns", "uid": f"u{len(self.created)}", "resourceVersion": "1"}
        return {**body, "metadata": meta}


def make() -> tuple[FakeKube, Cache, Definitions, PackageRecord]:
    kube, cache = FakeKube(), Cache(RESULTS)
    assert kube.obj is not None
    cache.package_event("ADDED", kube.obj)
    return kube, cache, Definitions(kube, cache), package_record(kube.obj)  # type: ignore[arg-type]


async def test_a_status_that_was_written_meanwhile_does_not_stop_an_edit() -> None:
    kube, _, definitions, record = make()
    kube.meanwhile = [{"status": {"sourcesBuilt": 1}}, {"status": {"sourcesBuilt": 2}}]
    await definitions.replace(record, WANTED)
    assert kube.obj is not None
    assert kube.obj["spec"]["maxBuilds"] == 3


@pytest.mark.parametrize("change", [{"spec": {**SPEC, "timeout": 5}}, None], ids=["changed", "deleted"])
async def test_another_definition_is_not_written_over(change: dict[str, Any] | None) -> None:
    kube, _, definitions, record = make()
    kube.meanwhile = [change]
    with pytest.raises(CoprError, match="being changed by others") as refused:
        await definitions.replace(record, WANTED)
    assert refused.value.status == 409
    assert kube.obj is None or "maxBuilds" not in kube.obj["spec"]


async def test_a_status_that_never_rests_ends_it() -> None:
    kube, _, definitions, record = make()
    kube.meanwhile = [{"status": {"sourcesBuilt": number}} for number in range(99)]
    with pytest.raises(CoprError, match="being changed by others"):
        await definitions.replace(record, WANTED)


async def test_a_fork_builds_nothing_by_itself() -> None:
    kube, cache, definitions, _ = make()
    source, target = project_view(project("demo", "p", held=True)), project_view(project("mine", "q", held=True))
    await definitions.copy(source, target)
    (made,) = kube.created
    assert (made["spec"]["project"], made["spec"]["buildOnChange"]) == ("mine", False)
    assert [record.spec.name for record in cache.packages_of(target)] == ["hello"]
