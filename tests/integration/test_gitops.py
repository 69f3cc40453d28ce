"""Objects that a GitOps tool owns, beside a controller and people who write to them too: on a real API server."""

import json
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from copr_operator.api.crd import KINDS
from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import APPLY_PATCH, ApiError
from tests.cluster import api as clusters
from tests.support.fake_kubelet import Status
from tests.support.gitops import EXAMPLE, ask, kustomized
from tests.support.world import CHROOTS, World, manifest

Obj = dict[str, Any]
TOOL = "argocd-controller"
PLURALS = {kind.kind: kind.plural for kind in KINDS}


def in_git() -> list[Obj]:
    """What a repository holds: no more than a person writes, so nothing that is a default."""
    source = {"type": "link", "link": {"url": "http://sources.example/hello.src.rpm"}}
    package = {"type": "scm", "scm": {"cloneURL": "https://git.example/hello.git"}}
    chroots = [
        manifest("CoprChroot", name.replace("_", "-"), {"name": name, "image": "chroot:test", "arch": "x86_64"})
        for name in CHROOTS
    ]
    settings = [{"name": CHROOTS[0], "withOpts": ["docs"]}, {"name": CHROOTS[1]}]
    objects = [
        *chroots,
        manifest("CoprProject", "demo", {"owner": "alice", "name": "demo", "chroots": settings}),
        manifest("CoprPackage", "hello", {"owner": "alice", "project": "demo", "name": "hello", "source": package}),
        manifest("CoprBuild", "hello", {"owner": "alice", "project": "demo", "source": source, "chroots": [*CHROOTS]}),
    ]
    for one in objects:
        one["metadata"]["labels"] = {"app.kubernetes.io/part-of": "packages"}
    return objects


class Git:
    """The objects as files, and kubectl."""

    def __init__(self, cluster: clusters.Cluster, here: World, tmp_path: Path) -> None:
        self._cluster, self._here, self._file = cluster, here, tmp_path / "objects.json"
        self.objects = in_git()

    def kubectl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self._file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": self.objects}))
        command = [str(clusters.tool("kubectl")), "--kubeconfig", str(self._cluster.kubeconfig),
                   "-n", self._here.namespace, *arguments, "-f", str(self._file)]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def apply(self, *options: str) -> None:
        done = self.kubectl("apply", *options)
        assert done.returncode == 0, done.stderr

    def differences(self, *options: str) -> str:
        done = self.kubectl("diff", *options)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    def openapi(self, tmp_path: Path) -> Path:
        path = tmp_path / "openapi.json"
        command = [str(clusters.tool("kubectl")), "--kubeconfig", str(self._cluster.kubeconfig)]
        done = subprocess.run([*command, "get", "--raw", "/openapi/v2"], capture_output=True, text=True, check=True)
        path.write_text(done.stdout)
        return path

    async def live(self) -> list[Obj]:
        kube, namespace = self._here.kube, self._here.namespace
        return [
            await kube.get(paths.copr(PLURALS[one["kind"]], namespace, one["metadata"]["name"])) for one in self.objects
        ]


@pytest.fixture
def git(cluster: clusters.Cluster, here: World, tmp_path: Path) -> Git:
    return Git(cluster, here, tmp_path)


SERVER_SIDE = ("--server-side", f"--field-manager={TOOL}")


@pytest.mark.parametrize("options", [(), SERVER_SIDE], ids=["client-side", "server-side"])
async def test_kubectl_diff_shows_nothing_once_a_build_has_ended(
    here: World, git: Git, options: tuple[str, ...]
) -> None:
    git.apply(*options)
    async with here.controller():
        await here.until_state("succeeded")
    assert git.differences(*options) == ""
    git.objects[-1]["spec"]["results"] = "Retain"
    assert "results: Retain" in git.differences(*options)


def _argocd_asks(git: Git, live: list[Obj], openapi: Path, mode: str) -> list[Obj]:
    """How Argo CD compares: by its last apply, by the fields it manages, or by a dry run."""
    predicted: dict[tuple[str, str], str] = {}
    if mode == "server-side":
        done = git.kubectl("apply", *SERVER_SIDE, "--dry-run=server", "--show-managed-fields", "-o", "json")
        assert done.returncode == 0, done.stderr
        predicted = {(o["kind"], o["metadata"]["name"]): json.dumps(o) for o in json.loads(done.stdout)["items"]}
    return [
        {
            "ask": mode,
            "object": now,
            "wanted": {**wanted, "metadata": {**wanted["metadata"], "namespace": now["metadata"]["namespace"]}},
            "manager": TOOL,
            "openapi": str(openapi),
            "predicted": predicted.get((now["kind"], now["metadata"]["name"]), ""),
        }
        for wanted, now in zip(git.objects, live, strict=True)
    ]


@pytest.mark.parametrize("mode", ["three-way", "structured-merge", "server-side"])
async def test_argocd_finds_everything_in_sync_once_a_build_has_ended(
    here: World, git: Git, tmp_path: Path, mode: str
) -> None:
    git.apply(*(() if mode == "three-way" else SERVER_SIDE))
    async with here.controller():
        await here.until_state("succeeded")
    live, openapi = await git.live(), git.openapi(tmp_path)
    answers = ask(_argocd_asks(git, live, openapi, mode))
    for answer in answers:
        assert "error" not in answer, answer["error"]
        assert not answer["modified"], (answer["predicted"], answer["live"])
    git.objects[-1]["spec"]["results"] = "Retain"
    assert [answer["modified"] for answer in ask(_argocd_asks(git, live, openapi, mode))] == [
        one["kind"] == "CoprBuild" for one in git.objects
    ]


def untouched(pod: Obj) -> Status | None:
    """A pod that is never scheduled."""
    return None


async def _applied(here: World, obj: Obj, manager: str) -> Obj:
    path = paths.copr(PLURALS[obj["kind"]], here.namespace, obj["metadata"]["name"])
    return await here.kube.patch(path, obj, {"fieldManager": manager}, content_type=APPLY_PATCH)


async def _user_applies(here: World) -> None:
    await _applied(here, manifest("CoprBuild", "hello", {"cancel": True}), "a-user")


async def _user_patches(here: World) -> None:
    await here.patch_build("hello", {"spec": {"cancel": True}})


@pytest.mark.parametrize("cancel", [_user_applies, _user_patches])
async def test_a_user_cancels_what_a_tool_owns_and_neither_is_in_the_others_way(
    here: World, cancel: Callable[[World], Any]
) -> None:
    here.kubelet.behaviour = untouched
    objects = in_git()
    async with here.controller():
        for one in objects:
            await _applied(here, one, TOOL)
        await here.until(lambda build: names.FINALIZER in build["metadata"].get("finalizers", []))
        await cancel(here)
        before = await here.until_state("canceled")
        again = await _applied(here, objects[-1], TOOL)
    assert again["spec"]["cancel"] is True
    assert again["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"], "it has nothing to change"
    assert names.LABEL_BUILD_ID in again["metadata"]["labels"]
    assert names.FINALIZER in again["metadata"]["finalizers"]


async def test_a_tool_that_says_in_git_that_a_build_is_not_canceled_is_told_what_is_wrong(here: World) -> None:
    build = in_git()[-1]
    build["spec"]["cancel"] = False
    await _applied(here, build, TOOL)
    with pytest.raises(ApiError, match='conflict with "argocd-controller"'):
        await _user_applies(here)
    await _user_patches(here)
    path, forced = paths.copr("coprbuilds", here.namespace, "hello"), {"fieldManager": TOOL, "force": "true"}
    with pytest.raises(ApiError, match=r"spec\.cancel can't be taken back"):
        await here.kube.patch(path, build, forced, content_type=APPLY_PATCH)


async def test_a_build_that_was_changed_in_git_is_refused_and_says_to_create_another(here: World) -> None:
    build = in_git()[-1]
    await _applied(here, build, TOOL)
    changed = deepcopy(build)
    changed["spec"]["source"]["link"]["url"] = "http://sources.example/hello-2.src.rpm"
    with pytest.raises(ApiError, match=r"spec\.source can't be changed: create another CoprBuild"):
        await _applied(here, changed, TOOL)


async def test_neither_labels_nor_finalizers_of_the_operator_are_a_tools_to_remove(here: World) -> None:
    """A tool that forces its will on conflicts changes nothing either: it does not own them."""
    objects = in_git()
    async with here.controller():
        for one in objects:
            await _applied(here, one, TOOL)
        ended = await here.until_state("succeeded")
        path = paths.copr("coprbuilds", here.namespace, "hello")
        forced = {"fieldManager": TOOL, "force": "true"}
        again = await here.kube.patch(path, objects[-1], forced, content_type=APPLY_PATCH)
    assert again["metadata"]["resourceVersion"] == ended["metadata"]["resourceVersion"]
    owned = {
        entry["manager"]: entry["fieldsV1"].get("f:metadata", {})
        for entry in again["metadata"]["managedFields"]
        if entry.get("subresource") != "status"
    }
    assert "f:finalizers" not in owned[TOOL]
    assert f"f:{names.LABEL_BUILD_ID}" in owned[names.FIELD_MANAGER]["f:labels"]


async def test_the_example_repository_is_admitted(here: World, git: Git) -> None:
    git.objects = [
        {**one, "metadata": {**one["metadata"], "namespace": here.namespace}}
        for one in kustomized(EXAMPLE)
        if one["apiVersion"] == names.API_VERSION
    ]
    done = git.kubectl("create", "--dry-run=server", "--validate=strict", "-o", "name")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 4
