"""The example repository for Argo CD and Flux: what it says is taken by the tools' own types, and fits together."""

from pathlib import Path
from typing import Any

import pytest

from copr_operator.core import names
from tests.chart.objects import rendered
from tests.support.gitops import EXAMPLE, ask, documents, kustomized
from tests.support.installation import REPOSITORY

TOOL_FILES = sorted([*EXAMPLE.glob("argocd/*.yaml"), *EXAMPLE.glob("flux/*.yaml"), EXAMPLE / "operator/release.yaml"])


def of_tools() -> list[Any]:
    return [
        pytest.param(one, id=f"{path.parent.name}-{one['kind']}-{one['metadata']['name']}")
        for path in TOOL_FILES
        for one in documents(path)
    ]


@pytest.mark.parametrize("obj", of_tools())
def test_an_object_of_a_tool_is_what_the_tool_takes(obj: dict[str, Any]) -> None:
    assert ask([{"ask": "read", "object": obj}]) == [{"modified": False}]


def test_what_a_tool_does_not_take_is_found() -> None:
    (application,) = documents(EXAMPLE / "argocd/packages.yaml")
    application["spec"]["syncPolcy"] = {}
    assert 'unknown field "spec.syncPolcy"' in ask([{"ask": "read", "object": application}])[0]["error"]


def find(path: Path, kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in documents(path) if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def test_both_tools_give_the_chart_the_same_values_and_the_chart_takes_them() -> None:
    argocd = find(EXAMPLE / "argocd/operator.yaml", "Application", "copr-operator")["spec"]
    flux = find(EXAMPLE / "operator/release.yaml", "HelmRelease", "copr-operator")["spec"]
    values = argocd["source"]["helm"]["valuesObject"]
    assert values == flux["values"]
    assert (REPOSITORY / argocd["source"]["path"] / "Chart.yaml").exists()
    assert (REPOSITORY / flux["chart"]["spec"]["chart"] / "Chart.yaml").exists()
    assert rendered(values).settings("controller")["COPR_CONTROLLER_RESULTS_URL"] == "https://copr.example"


@pytest.mark.parametrize("name", ["copr-operator", "projects", "packages", "builds"])
def test_flux_applies_directories_that_are_there(name: str) -> None:
    file = EXAMPLE / "flux" / ("operator.yaml" if name == "copr-operator" else "packages.yaml")
    assert (EXAMPLE / find(file, "Kustomization", name)["spec"]["path"] / "kustomization.yaml").exists()


def test_a_chroot_is_synced_before_its_project_and_a_project_before_its_builds() -> None:
    def wave(kind: str) -> int:
        (obj,) = [one for one in kustomized(EXAMPLE) if one["kind"] == kind]
        return int(obj["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])

    assert wave("Namespace") <= wave("CoprChroot") < wave("CoprProject") < wave("CoprBuild") == wave("CoprPackage")


def test_no_tool_deletes_a_namespace_with_all_that_is_in_it() -> None:
    def annotations(directory: str) -> dict[str, str]:
        (namespace,) = [one for one in kustomized(EXAMPLE / directory) if one["kind"] == "Namespace"]
        found: dict[str, str] = namespace["metadata"]["annotations"]
        return found

    # Argo CD applies no `operator`: its Application makes the namespace by itself.
    for directory in ("operator", "projects"):
        assert annotations(directory)["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
    assert annotations("projects")["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"


def test_flux_and_argocd_apply_the_same_objects() -> None:
    flux = [one for name in ("projects", "packages", "builds") for one in kustomized(EXAMPLE / name)]
    assert sorted(flux, key=str) == sorted(kustomized(EXAMPLE), key=str)
    assert {one["apiVersion"] for one in flux} == {"v1", names.API_VERSION}


def test_a_release_is_another_build_of_another_commit(tmp_path: Path) -> None:
    for file in (EXAMPLE / "builds/hello").iterdir():
        text = file.read_text()
        (tmp_path / file.name).write_text(text.replace('"2.8"', '"2.9-1"').replace("v2.8", "v2.9"))
    (before,) = kustomized(EXAMPLE / "builds/hello")
    (after,) = kustomized(tmp_path)
    assert (before["metadata"]["name"], after["metadata"]["name"]) == ("hello-2.8", "hello-2.9-1")
    assert after["spec"]["source"]["scm"]["committish"] == "v2.9"
