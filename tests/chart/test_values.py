"""Each value of the chart has its effect, and helm refuses what is wrong."""

import re
from typing import Any

import pytest

from copr_operator.backend.settings import ENV_PREFIX, BackendSettings
from copr_operator.cli import controller
from copr_operator.core.config import BuildPods
from copr_operator.frontend.settings import FrontendSettings
from tests.chart.cases import CASES, CHROOT, Case, everything
from tests.chart.objects import Objects, rendered
from tests.support import chart_values
from tests.support.chart import HelmError


def found(case: Case, objects: Objects) -> Any:
    """What shows; the exception where nothing does."""
    try:
        return case.find(objects)
    except (LookupError, ValueError) as error:
        return error


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_value_shows_where_it_should_and_only_then(case: Case) -> None:
    without = {path: value for path, value in case.beside.items() if (path, value) != (case.path, case.value)}
    assert found(case, rendered({**without, case.path: case.value})) == case.shows
    assert found(case, rendered(without)) != case.shows


def test_every_value_has_a_case() -> None:
    assert {value.path for value in chart_values.values()} == {case.path for case in CASES}


def test_every_setting_of_the_backend_can_be_given_and_is_read_as_it_was_given() -> None:
    names = [name for name in BackendSettings.model_fields if name not in chart_values.OWNED]
    defaults = BackendSettings(root="/")
    wanted = {name: getattr(defaults, name) + 1 for name in names}
    settings = {chart_values.camel(name): value for name, value in wanted.items()}
    environment = rendered({"backend.settings": settings}).settings("backend")
    read = BackendSettings.from_environment(environment)
    assert {name: getattr(read, name) for name in names} == wanted
    assert environment[f"{ENV_PREFIX}ROOT"] == "/var/lib/copr"


def test_no_setting_that_the_chart_gives_goes_unread() -> None:
    """A variable that no option and no field reads is ignored without a word."""
    read = {
        "controller": {parameter.name for parameter in controller.params},
        "backend": set(BackendSettings.model_fields) | {"log_level"},
        "frontend": set(FrontendSettings.model_fields) | {"log_level"},
    }
    renderings = [rendered(everything("a")), rendered({"watchNamespaces": ["a"]})]
    for component, names in read.items():
        prefix = f"COPR_{component.upper()}_"
        given = {name for objects in renderings for name in objects.variables(component)}
        assert given
        assert {name.removeprefix(prefix).lower() for name in given} - names == set(), component


def test_build_pods_are_what_the_controller_can_read() -> None:
    values = {case.path: case.value for case in CASES if case.path.startswith("buildPods.")}
    pods = BuildPods.model_validate(rendered(values).build_pods())
    unset = {name for name in BuildPods.model_fields if getattr(pods, name) == getattr(BuildPods(), name)}
    assert unset == set()


MANY_OBJECTS: dict[str, Any] = {
    **{path: value for case in CASES for path, value in case.beside.items() if path.endswith(("enabled", "host"))},
    **{f"{part}.httpRoute.parentRefs": [{"name": "gateway"}] for part in ("backend", "frontend")},
    "backend.persistence.enabled": True, "demo.enabled": True, "test.chroot": "a-1-i386",
}  # fmt: skip


def test_null_is_as_good_as_an_empty_text_list_or_map() -> None:
    nothing = {
        value.path: value.default
        for value in chart_values.values()
        if value.default in ("", None, [], {}) and value.path not in MANY_OBJECTS
    }
    empty = rendered({**nothing, **MANY_OBJECTS})
    assert rendered({**dict.fromkeys(nothing), **MANY_OBJECTS}).all == empty.all
    assert {"Ingress", "HTTPRoute", "ServiceMonitor", "PodMonitor", "CoprProject"} <= {one["kind"] for one in empty.all}


def test_null_is_refused_where_there_is_no_empty_value_and_helm_says_where() -> None:
    required = [value.path for value in chart_values.values() if chart_values.can_not_be_null(value)]
    with pytest.raises(HelmError) as refusal:
        rendered(dict.fromkeys(required))
    for path in required:
        group, _, name = path.rpartition(".")
        at = "/".join(["", *group.split(".")]) if group else ""
        assert re.search(rf"at '{at}': missing propert(y|ies) .*'{name}'", str(refusal.value)), path


@pytest.mark.parametrize("component", ["controller", "backend", "frontend"])
def test_resources_can_be_taken_away(component: str) -> None:
    assert rendered({f"{component}.resources": None}).container(component)["resources"] == {}


@pytest.mark.parametrize("group", ["backend", "backend.service", "proxy", "sources", "metrics.podMonitor"])
def test_a_group_can_not_be_null(group: str) -> None:
    with pytest.raises(HelmError, match=f"missing property '{group.rpartition('.')[2]}'"):
        rendered({group: None})


@pytest.mark.parametrize("component", ["controller", "frontend"])
def test_how_many_there_are_can_be_left_to_an_autoscaler(component: str) -> None:
    made = rendered({f"{component}.replicas": None})
    assert "replicas" not in made.workload(component)["spec"]
    assert f"copr-operator-{component}" in made.names("PodDisruptionBudget")


def test_an_extra_object_given_as_a_map_is_no_template() -> None:
    rule = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "alerts"},
            "data": {"summary": "{{ $labels.pod }} is down"}}  # fmt: skip
    assert rendered({"extraObjects": [rule]}).find("ConfigMap", "alerts", None) == rule


WRONG = {
    "contoller.replicas": 2,
    "controller.replica": 2,
    "controller.replicas": 0,
    "controller.logLevel": "loud",
    "controller.tolerations": [{"keys": "a"}],
    "controller.resources": {"request": {}},
    "controller.extraEnv": [{"value": "b"}],
    "image.digest": "sha256:1",
    "image.pullPolicy": "Sometimes",
    "watchNamespaces": ["Not A Namespace"],
    "backend.settings": {"removalGraze": 1},
    "backend.settings.gather": -1,
    "backend.persistence.size": "much",
    "backend.persistence.accessModes": [],
    "backend.resultsURL": "https://r.example/",
    "backend.service.port": 70000,
    "buildPods.nodeSelector": {"a": 1},
    "chroots": [{"name": "a", "image": "b"}],
    "priorityClasses": [{"name": "a"}],
    "metrics.podMonitor.interval": "often",
    "extraObjects": [{"kind": "ConfigMap"}],
}


@pytest.mark.parametrize(("path", "value"), [*WRONG.items(), ("chroots", [{**CHROOT, "imag": "x"}])], ids=str)
def test_a_wrong_value_is_refused_by_the_schema_which_names_it(path: str, value: Any) -> None:
    with pytest.raises(HelmError) as refusal:
        rendered({path: value})
    said = str(refusal.value)
    assert "don't meet the specifications of the schema" in said
    assert path.split(".", maxsplit=1)[0] in said


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backend.ingress.enabled": True}, "backend.ingress.host"),
        ({"frontend.httpRoute.enabled": True}, "frontend.httpRoute.parentRefs"),
    ],
    ids=str,
)
def test_what_only_makes_sense_together_is_asked_for(values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmError, match=message):
        rendered(values)
