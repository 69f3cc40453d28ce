"""Argo CD's health and actions: its own Lua machine runs our scripts on what its own form of tests names."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from copr_operator.api.build import BuildSpec
from tests.support.gitops import Answer, argocd_settings, ask
from tests.support.gitops_states import CUSTOMIZATIONS, argocd_files, states

Obj = dict[str, Any]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_what_argocd_is_tested_with_and_given_is_what_make_generate_writes() -> None:
    assert {path: path.read_text() for path in argocd_files()} == argocd_files()
    assert set(CUSTOMIZATIONS.glob("*/testdata/*")) <= argocd_files().keys()


def health_tests() -> list[Any]:
    return [
        pytest.param(file.parent / test["inputPath"], test["healthStatus"],
                     id=f"{file.parent.name}-{Path(test['inputPath']).stem}")
        for file in sorted(CUSTOMIZATIONS.glob("*/health_test.yaml"))
        for test in load(file)["tests"]
    ]  # fmt: skip


@pytest.fixture(scope="module")
def health() -> dict[Path, Answer]:
    paths = [test.values[0] for test in health_tests()]
    answers = ask({"ask": "health", "object": load(path), "settings": argocd_settings()} for path in paths)
    return dict(zip(paths, answers, strict=True))


@pytest.mark.parametrize(("path", "expected"), health_tests())
def test_health(health: dict[Path, Answer], path: Path, expected: dict[str, str]) -> None:
    said = {name: health[path].get(name) for name in ("status", "message", "error")}
    assert said == {**expected, "error": None}


@pytest.mark.parametrize("directory", sorted(CUSTOMIZATIONS.iterdir()), ids=lambda directory: directory.name)
def test_every_state_has_its_test_of_health(directory: Path) -> None:
    tested = [Path(test["inputPath"]).stem for test in load(directory / "health_test.yaml")["tests"]]
    assert sorted(tested) == sorted(states()[directory.name])


def test_definitions_have_no_health_of_their_own() -> None:
    plain = list(states()["CoprChroot"].values())
    answers = ask({"ask": "health", "object": obj, "settings": argocd_settings()} for obj in plain)
    assert answers == [{"modified": False}] * len(plain)


ACTIONS = CUSTOMIZATIONS / "CoprBuild/actions"


def action_tests(kind: str) -> list[Any]:
    tests: list[Any] = load(ACTIONS / "action_test.yaml")[kind]
    return tests


@pytest.mark.parametrize("test", action_tests("discoveryTests"), ids=lambda test: Path(test["inputPath"]).stem)
def test_which_actions_there_are(test: Obj) -> None:
    (said,) = ask([{"ask": "discovery", "object": load(ACTIONS / test["inputPath"]), "settings": argocd_settings()}])
    assert said.get("actions") == sorted(test["result"], key=lambda action: str(action["name"])), said


def test_every_state_has_its_test_of_the_actions() -> None:
    tested = [Path(test["inputPath"]).stem for test in action_tests("discoveryTests")]
    assert sorted(tested) == sorted(states()["CoprBuild"])


def run(action: str, build: Obj) -> Obj:
    """The one resource that an action changes or creates."""
    (said,) = ask([{"ask": "action", "action": action, "object": build, "settings": argocd_settings()}])
    assert "error" not in said, said
    (resource,) = said["resources"]
    found: Obj = resource
    return found


@pytest.mark.parametrize("test", action_tests("actionTests"), ids=lambda test: f"{test['action']}-{test['inputPath']}")
def test_what_an_action_does(test: Obj) -> None:
    build, expected = (load(ACTIONS / test[name]) for name in ("inputPath", "expectedOutputPath"))
    done = run(test["action"], build)
    if done["operation"] == "create":
        (wanted,) = expected
        wanted = wanted["unstructuredObj"]
        name = done["resource"]["metadata"].pop("name")
        prefix = wanted["metadata"].pop("name").rstrip("0")
        assert re.fullmatch(rf"{re.escape(prefix)}\d{{14}}", name), "the name ends with the time"
        assert done["resource"] == wanted
    else:
        assert done == {"operation": "patch", "resource": expected}


def test_a_build_in_a_batch_is_built_again_without_it_and_is_no_part_of_the_application() -> None:
    build = states()["CoprBuild"]["canceled"]
    tracked = {"app.kubernetes.io/instance": "app", **build["metadata"]["labels"]}
    metadata = {**build["metadata"], "labels": tracked, "annotations": {"argocd.argoproj.io/tracking-id": "app:x"}}
    spec = {**build["spec"], "afterBuild": "first", "excludeChroots": [], "chroots": ["debian-*"]}
    again = run("rebuild", {**build, "metadata": metadata, "spec": spec})["resource"]
    assert not {"labels", "annotations"} & set(again["metadata"])
    assert not {"afterBuild", "withBuild", "cancel"} & set(again["spec"])
    before = {**spec, "afterBuild": None, "cancel": False}
    assert BuildSpec.model_validate(again["spec"]) == BuildSpec.model_validate({**before, "excludeChroots": None})


def test_a_rerun_asks_for_all_that_failed() -> None:
    build = states()["CoprBuild"]["failed"]
    spec = {**build["spec"], "chroots": ["debian-12-*", "debian-13-*"], "timeout": 60, "withBuild": "first"}
    again = run("rerun", {**build, "spec": spec})["resource"]["spec"]
    assert (again["rerunOf"], again["timeout"]) == ("hello", 60)
    assert not {"source", "chroots", "excludeChroots", "withBuild", "cancel"} & set(again)
    BuildSpec.model_validate(again)
