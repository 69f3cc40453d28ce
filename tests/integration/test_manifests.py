"""The manifests that people apply, as the API server sees them."""

import subprocess
from pathlib import Path

import pytest
import yaml

from copr_operator import __version__
from copr_operator.api.crd import GROUP
from copr_operator.api.sources import SOURCE_TYPES
from copr_operator.kube import paths
from tests.cluster import api as clusters
from tests.support.samples import SAMPLES, sample
from tests.support.world import World, eventually

MANIFESTS = Path(__file__).parents[2] / "manifests"
CHROOTS = sorted(path.parent for path in (MANIFESTS / "chroots").glob("*/kustomization.yaml"))


def kubectl(cluster: clusters.Cluster, *arguments: str) -> str:
    command = [str(clusters.tool("kubectl")), "--kubeconfig", str(cluster.kubeconfig), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("directory", CHROOTS, ids=lambda path: path.name)
def test_the_chroots_are_admitted_and_called_what_their_files_are_called(
    cluster: clusters.Cluster, directory: Path
) -> None:
    kubectl(cluster, "create", "--dry-run=server", "--validate=strict", "-k", str(directory))
    for file in directory.glob("*-*.yaml"):
        for chroot in yaml.safe_load_all(file.read_text()):
            spec = chroot["spec"]
            distribution = spec["name"].removesuffix(f"-{spec['arch']}")
            assert chroot["metadata"]["name"] == spec["name"].replace("_", "-")
            assert file.stem in (spec["name"], distribution)
            assert spec["image"] == f"copr-operator/chroot-{distribution}:{__version__}"


def test_what_a_namespace_with_builds_needs_is_admitted(cluster: clusters.Cluster) -> None:
    kubectl(
        cluster, "create", "--dry-run=server", "--validate=strict", "-n", "default", "-k", str(MANIFESTS / "tenant")
    )


@pytest.mark.parametrize("file", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_samples_are_admitted(cluster: clusters.Cluster, file: Path) -> None:
    where = ("-k", str(SAMPLES)) if file.stem == "kustomization" else ("-f", str(file))
    kubectl(cluster, "create", "--dry-run=server", "--validate=strict", "-n", "default", *where)


def test_there_is_a_sample_of_every_source_and_it_is_called_so() -> None:
    files = {path.stem for path in SAMPLES.glob("*.yaml")} - {"kustomization", "project"}
    assert files == set(SOURCE_TYPES)
    assert [sample(name)["spec"]["source"]["type"] for name in SOURCE_TYPES] == list(SOURCE_TYPES)
    listed = yaml.safe_load((SAMPLES / "kustomization.yaml").read_text())["resources"]
    assert set(listed) == {f"{name}.yaml" for name in files | {"project"}} - {"upload.yaml"}


PEOPLE = {
    # Who has this role may do this with these kinds, and no more.
    "view": {"get": "bpkc", "list": "bpkc", "watch": "bpkc"},
    "edit": {"get": "bpkc", "list": "bpkc", "watch": "bpkc", "create": "bpk", "update": "bpk", "patch": "bpk",
             "delete": "bpk", "deletecollection": "bpk"},
}  # fmt: skip
PEOPLE["admin"] = PEOPLE["edit"]
LETTERS = {"b": "coprbuilds", "p": "coprprojects", "k": "coprpackages", "c": "coprchroots"}


@pytest.mark.parametrize("role", PEOPLE)
async def test_people_with_kubernetes_own_roles_may_use_the_kinds(
    here: World, cluster: clusters.Cluster, role: str
) -> None:
    kubectl(cluster, "apply", "--server-side", "--force-conflicts", "-f", str(MANIFESTS / "base/rbac-users.yaml"))
    kubectl(cluster, "create", "rolebinding", role, f"--clusterrole={role}", "--user=carol", "-n", here.namespace)
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")

    async def allowed(verb: str, resource: str) -> bool:
        wanted = {"namespace": here.namespace, "group": GROUP, "resource": resource, "verb": verb}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                  "spec": {"user": "carol", "resourceAttributes": wanted}}  # fmt: skip
        return bool((await here.kube.create(paths.SUBJECT_ACCESS_REVIEWS, review))["status"]["allowed"])

    async def found() -> dict[str, str]:
        rows = {verb: [letter for letter, name in LETTERS.items() if await allowed(verb, name)] for verb in verbs}
        return {verb: "".join(letters) for verb, letters in rows.items() if letters}

    async def aggregated() -> bool:
        return await found() == PEOPLE[role]

    await eventually(aggregated, lambda: f"{role} is something else")
