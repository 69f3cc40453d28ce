"""Package definitions are written while the controller writes their status."""

from typing import Any

import pytest

from copr_operator.api.package import PackageSpec
from copr_operator.api.sources import SourceSpec
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
OTHERS: dict[str, Any] = {
    "labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["example/mine"], "ownerReferences": [{"uid": "o"}],
}  # fmt: skip
"""What others have put on it."""


def merged(old: Any, patch: Any) -> Any:
    """As RFC 7386 says."""
    if not isinstance(patch, dict):
        return patch
    kept = {name: value for name, value in (old if isinstance(old, dict) else {}).items() if name not in patch}
    return kept | {name: merged((old or {}).get(name), value) for name, value in patch.items() if value is not None}


class FakeKube:
    """One CoprPackage. `meanwhile`: what others make of it before each write."""

    def __init__(self) -> None:
        meta = {"name": "hello", "namespace": "ns", "uid": "u", "resourceVersion": "1", **OTHERS}
        self.obj: dict[str, Any] | None = {"metadata": meta, "spec": {**SPEC, "ofNewerVersions": [1]}}
        self.created: list[dict[str, Any]] = []
        self.meanwhile: list[dict[str, Any] | None] = []
        self.patches: list[dict[str, Any]] = []

    def change(self, body: dict[str, Any] | None) -> None:
        if body is None or self.obj is None:
            self.obj = None
            return
        version = str(int(self.obj["metadata"]["resourceVersion"]) + 1)
        meta = body.get("metadata", self.obj["metadata"])
        self.obj = {**self.obj, **body, "metadata": {**meta, "resourceVersion": version}}

    async def patch(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.meanwhile:
            self.change(self.meanwhile.pop(0))
        if self.obj is None:
            raise ApiError(404, "NotFound", "")
        held = self.obj["metadata"]
        if any(held[name] != body["metadata"][name] for name in ("resourceVersion", "uid")):
            raise ApiError(409, "Conflict", "")
        self.change({"metadata": merged(held, body["metadata"]), "spec": merged(self.obj["spec"], body["spec"])})
        assert self.obj is not None
        self.patches.append(body["spec"])
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
    await definitions.change(record, WANTED)
    assert kube.obj is not None
    assert kube.obj["spec"]["maxBuilds"] == 3


@pytest.mark.parametrize("change", [{"spec": {**SPEC, "timeout": 5}}, None], ids=["changed", "deleted"])
async def test_another_definition_is_not_written_over(change: dict[str, Any] | None) -> None:
    kube, _, definitions, record = make()
    kube.meanwhile = [change]
    with pytest.raises(CoprError, match="being changed by others") as refused:
        await definitions.change(record, WANTED)
    assert refused.value.status == 409
    assert kube.obj is None or "maxBuilds" not in kube.obj["spec"]


async def test_a_status_that_never_rests_ends_it() -> None:
    kube, _, definitions, record = make()
    kube.meanwhile = [{"status": {"sourcesBuilt": number}} for number in range(99)]
    with pytest.raises(CoprError, match="being changed by others"):
        await definitions.change(record, WANTED)


async def test_a_change_leaves_all_that_is_not_its_own() -> None:
    kube, cache, definitions, record = make()
    await definitions.change(record, WANTED)
    assert kube.obj is not None
    assert kube.obj["metadata"] == {**OTHERS, "name": "hello", "namespace": "ns", "uid": "u", "resourceVersion": "2"}
    assert kube.obj["spec"] == {**SPEC, "ofNewerVersions": [1], "maxBuilds": 3}
    (held,) = cache.packages_of(project_view(project("demo", "p")))
    assert held.spec == WANTED


async def test_what_goes_is_taken_away_and_nothing_is_written_for_nothing() -> None:
    kube, _, definitions, record = make()
    one = {"type": "scm", "scm": {"cloneURL": "https://git.example/x", "credentialsSecret": "mine"}}
    for source in (one, {"type": "rubygems", "rubygems": {"name": "rake"}}, None, None):
        await definitions.change(record, PackageSpec.model_validate({**SPEC, "source": source}))
        assert kube.obj is not None
        assert PackageSpec.model_validate(kube.obj["spec"]).source == (source and SourceSpec.model_validate(source))
        record = package_record(kube.obj)
    gem = {"type": "rubygems", "scm": None, "rubygems": {"name": "rake"}}
    assert [patch["source"] for patch in kube.patches][1:] == [gem, None]


async def test_another_object_of_its_name_is_not_changed() -> None:
    kube, _, definitions, record = make()
    assert kube.obj is not None
    kube.obj["metadata"]["uid"] = "another"
    with pytest.raises(CoprError, match="being changed by others"):
        await definitions.change(record, WANTED)


async def test_a_fork_builds_nothing_by_itself() -> None:
    kube, cache, definitions, _ = make()
    source, target = project_view(project("demo", "p", held=True)), project_view(project("mine", "q", held=True))
    await definitions.copy(source, target)
    (made,) = kube.created
    assert (made["spec"]["project"], made["spec"]["buildOnChange"]) == ("mine", False)
    assert [record.spec.name for record in cache.packages_of(target)] == ["hello"]
