"""The kinds as the API server has them: what it accepts, refuses and selects, and what kubectl shows of it."""

import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from copr_operator.api.crd import GROUP, KINDS, Kind
from copr_operator.kube import paths
from copr_operator.kube.client import APPLY_PATCH, ApiError, KubeClient
from tests.cluster import api as clusters
from tests.support.api_cases import CASES, GOOD, UPDATES, Case, Update, changed
from tests.support.world import manifest

GOLDEN = Path(__file__).parent / "golden"
PLURALS = {kind.kind: kind.plural for kind in KINDS}
DRY = {"dryRun": "All", "fieldValidation": "Strict"}


@pytest.fixture
async def namespace(kube: KubeClient) -> AsyncIterator[str]:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "kinds-"}}
    created: str = (await kube.create(paths.core("namespaces"), body))["metadata"]["name"]
    yield created
    await kube.delete(f"{paths.core('namespaces')}/{created}")


@pytest.fixture(scope="module")
def kubectl(cluster: clusters.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs kubectl and returns what it prints, on either stream.

    It keeps for hours which kinds there are; a cluster of an hour ago at the same address may have had others.
    """
    options = [f"--kubeconfig={cluster.kubeconfig}", f"--cache-dir={tmp_path_factory.mktemp('kubectl')}"]

    def run(*arguments: str) -> str:
        command = [str(clusters.tool("kubectl")), *options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run


# -- what is accepted and refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_new_object_is_accepted_or_refused_in_readable_words(kube: KubeClient, case: Case) -> None:
    sent = kube.create(paths.copr(PLURALS[case.kind], "default"), manifest(case.kind, "x", case.spec), DRY)
    if not case.refused:
        assert holds((await sent)["spec"], case.spec)
        return
    with pytest.raises(ApiError) as refusal:
        await sent
    assert refusal.value.status == 422
    assert case.refused in refusal.value.message


def holds(got: Any, sent: Any) -> bool:
    """Whether all that was sent is in what came back; defaults may have been added to objects."""
    if isinstance(sent, dict):
        return all(name in got and holds(got[name], value) for name, value in sent.items())
    if isinstance(sent, list):
        return len(got) == len(sent) and all(map(holds, got, sent))
    return bool(got == sent)


@pytest.mark.parametrize("update", UPDATES, ids=str)
async def test_a_change_is_accepted_or_refused_in_readable_words(kube: KubeClient, update: Update) -> None:
    collection = paths.copr(PLURALS[update.kind], "default")
    before = manifest(update.kind, "", changed(update.kind, update.before))
    before["metadata"] = {"generateName": "x-"}
    created = await kube.create(collection, before)
    path = f"{collection}/{created['metadata']['name']}"
    wanted = changed(update.kind, update.after)
    sent = kube.replace(path, {**created, "spec": wanted}, DRY)
    try:
        if not update.refused:
            answer = await sent
            assert holds(answer["spec"], wanted)
            assert answer["metadata"]["generation"] == (1 if answer["spec"] == created["spec"] else 2)
            return
        with pytest.raises(ApiError) as refusal:
            await sent
        assert refusal.value.status == 422
        assert update.refused in refusal.value.message
    finally:
        await kube.delete(path)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
async def test_a_misspelt_field_is_refused_by_name(kube: KubeClient, kind: Kind) -> None:
    obj = manifest(kind.kind, "x", {**GOOD[kind.kind], "timeuot": 5})
    with pytest.raises(ApiError, match=r'unknown field "spec\.timeuot"'):
        await kube.create(paths.copr(kind.plural, "default"), obj, DRY)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.status is not None], ids=lambda kind: kind.kind)
async def test_a_status_is_not_the_users_to_write_and_says_that_nothing_was_observed(
    kube: KubeClient, kind: Kind
) -> None:
    obj = {**manifest(kind.kind, "x", GOOD[kind.kind]), "status": {"observedGeneration": 7}}
    created = await kube.create(paths.copr(kind.plural, "default"), obj, DRY)
    assert created["status"]["observedGeneration"] == 0
    assert not any(created["status"].values()), "nothing but defaults"


async def test_a_spec_is_not_changed_through_the_status(kube: KubeClient, namespace: str) -> None:
    await kube.create(paths.copr("coprbuilds", namespace), manifest("CoprBuild", "x", GOOD["CoprBuild"]))
    path = paths.copr("coprbuilds", namespace, "x", "status")
    written = await kube.patch(path, {"spec": {"cancel": True}, "status": {"id": 1, "state": "pending"}})
    assert (written["spec"]["cancel"], written["status"]["id"], written["metadata"]["generation"]) == (False, 1, 1)


# -- kubectl ---------------------------------------------------------------------------------------------------------


def test_kubectl_explains_a_source(kubectl: Callable[..., str]) -> None:
    said = kubectl("explain", "coprbuild.spec.source", "--recursive")
    assert said == (GOLDEN / "explain-coprbuild.spec.source.txt").read_text()


@pytest.mark.parametrize(
    ("name", "header", "wide"),
    [
        ("cb", "NAME ID PROJECT PACKAGE VERSION STATE REASON AGE", "OWNER SOURCE MESSAGE"),
        ("cproj", "NAME OWNER NAME READY REASON AGE", "REPOSITORY"),
        ("cchroot", "NAME CHROOT ARCH ENABLED AGE", "IMAGE"),
    ],
)
async def test_kubectl_shows_each_kind_under_its_short_name(
    kube: KubeClient, namespace: str, kubectl: Callable[..., str], name: str, header: str, wide: str
) -> None:
    kind = next(kind for kind in KINDS if kind.short_names == (name,))
    await kube.create(paths.copr(kind.plural, namespace), manifest(kind.kind, "shown", GOOD[kind.kind]))
    narrow, full = (kubectl("get", name, "-n", namespace, *option).splitlines() for option in ((), ("-o", "wide")))
    assert narrow[0].split() == header.split()
    assert set(full[0].split()) == {*header.split(), *wide.split()}
    assert narrow[1].split()[0] == "shown"
    assert "<invalid>" not in full[1]


async def test_kubectl_get_copr_shows_all_kinds(kube: KubeClient, namespace: str, kubectl: Callable[..., str]) -> None:
    for kind in KINDS:
        await kube.create(paths.copr(kind.plural, namespace), manifest(kind.kind, "one", GOOD[kind.kind]))
    shown = kubectl("get", "copr", "-n", namespace, "-o", "name").split()
    assert sorted(shown) == sorted(f"{kind.kind.lower()}.{GROUP}/one" for kind in KINDS)


async def test_a_builds_row_says_what_became_of_it(
    kube: KubeClient, namespace: str, kubectl: Callable[..., str]
) -> None:
    await kube.create(paths.copr("coprbuilds", namespace), manifest("CoprBuild", "x", GOOD["CoprBuild"]))
    await write_status(kube, namespace, "x", state="succeeded", reason="Succeeded", id=7)
    row = kubectl("get", "cb", "-n", namespace, "--no-headers").split()
    assert row[:7] == ["x", "7", "demo", "hello", "2.8-1", "succeeded", "Succeeded"]


# -- selection -------------------------------------------------------------------------------------------------------


async def write_status(
    kube: KubeClient, namespace: str, build: str, *, reason: str = "Building", **status: Any
) -> None:
    condition = {
        "type": "Succeeded",
        "status": "Unknown",
        "reason": reason,
        "lastTransitionTime": "2026-01-01T12:00:00Z",
    }
    source = {"state": "succeeded", "package": {"name": "hello", "version": "2.8-1"}}
    body = {"status": {"conditions": [condition], "source": source, **status}}
    await kube.patch(paths.copr("coprbuilds", namespace, build, "status"), body)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("spec.owner=alice", ["new", "running"]),
        ("spec.owner!=alice", ["ended"]),
        ("spec.project=libstdc++", ["running"]),
        ("status.state=running", ["running"]),
        ("status.state=", ["new"]),
        ("status.state!=running,status.state!=failed", ["new"]),
        ("status.id=12", ["ended"]),
        ("status.source.package.name=hello", ["ended", "running"]),
        ("status.state!=failed,spec.owner=alice,metadata.name!=new", ["running"]),
    ],
)
async def test_builds_are_selected_by_field(
    kube: KubeClient, namespace: str, kubectl: Callable[..., str], selector: str, selected: list[str]
) -> None:
    for name, spec in (("new", {}), ("running", {"project": "libstdc++"}), ("ended", {"owner": "@copr"})):
        wanted = {**GOOD["CoprBuild"], **spec}
        await kube.create(paths.copr("coprbuilds", namespace), manifest("CoprBuild", name, wanted))
    await write_status(kube, namespace, "running", state="running", id=11)
    await write_status(kube, namespace, "ended", state="failed", id=12)
    shown = kubectl("get", "cb", "-n", namespace, "-o", "name", f"--field-selector={selector}").split()
    assert shown == [f"coprbuild.{GROUP}/{name}" for name in selected]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
async def test_the_api_server_knows_each_selectable_field(kube: KubeClient, kind: Kind) -> None:
    for field in kind.selectable:
        selector = {"fieldSelector": f"{field.removeprefix('.')}=nothing-is-called-so"}
        assert (await kube.get(paths.copr(kind.plural, "default"), selector))["items"] == []
    with pytest.raises(ApiError, match="field label not supported"):
        await kube.get(paths.copr(kind.plural, "default"), {"fieldSelector": "spec.nothing=x"})


# -- two who apply ---------------------------------------------------------------------------------------------------


async def apply(kube: KubeClient, path: str, manager: str, spec: dict[str, Any]) -> dict[str, Any]:
    obj = manifest("CoprProject", "demo", {"owner": "alice", "name": "demo", **spec})
    return await kube.patch(path, obj, {"fieldManager": manager}, content_type=APPLY_PATCH)


async def test_two_managers_apply_chroots_of_one_project_of_their_own(kube: KubeClient, namespace: str) -> None:
    path = paths.copr("coprprojects", namespace, "demo")
    await apply(kube, path, "one", {"chroots": [{"name": "fedora-43-x86_64", "withOpts": ["docs"]}]})
    both = await apply(kube, path, "two", {"chroots": [{"name": "fedora-44-x86_64"}]})
    assert {chroot["name"] for chroot in both["spec"]["chroots"]} == {"fedora-43-x86_64", "fedora-44-x86_64"}
    left = await apply(kube, path, "one", {"chroots": [{"name": "epel-10-x86_64"}]})
    assert {chroot["name"] for chroot in left["spec"]["chroots"]} == {"epel-10-x86_64", "fedora-44-x86_64"}


async def test_two_managers_who_set_one_field_differently_are_told_of_each_other(
    kube: KubeClient, namespace: str
) -> None:
    path = paths.copr("coprprojects", namespace, "demo")
    await apply(kube, path, "one", {"chroots": [{"name": "fedora-43-x86_64", "withOpts": ["docs"]}]})
    with pytest.raises(ApiError) as conflict:
        await apply(kube, path, "two", {"chroots": [{"name": "fedora-43-x86_64", "withOpts": ["tests"]}]})
    assert conflict.value.conflict
    assert 'conflict with "one"' in conflict.value.message
    assert '.spec.chroots[name="fedora-43-x86_64"].withOpts' in conflict.value.message
