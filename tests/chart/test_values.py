"""Each value of the chart has its effect, and helm refuses what is wrong."""

import re
from typing import Any

import pytest
from click.testing import CliRunner

from copr_operator.backend.settings import ENV_PREFIX, BackendSettings
from copr_operator.cli import controller, main
from copr_operator.core.config import BuildPods
from copr_operator.core.egress import check_rules
from copr_operator.core.wire import EgressRules
from copr_operator.frontend.settings import FrontendSettings
from tests.chart.cases import CASES, CHROOT, DIST_GIT, Case, everything, follows, smoke
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
    "backend.podAnnotations": {"copr-operator.dev/settings-checksum": "x"},
    "buildPods.nodeSelector": {"a": 1},
    "sources.allow": ["https://git.internal"],
    "sources.deny": ["git.internal"],
    "frontend.url": "https://copr example",
    "chroots": [{"name": "a", "image": "b"}],
    "priorityClasses": [{"name": "a"}],
    "metrics.podMonitor.interval": "often",
    "extraObjects": [{"kind": "ConfigMap"}],
}


STOPS_THE_CONTROLLER: list[tuple[str, Any]] = [
    ("nodeSelector", {"pool": "a b"}),
    ("labels", {"app.kubernetes.io/managed-by": "us"}),
    ("labels", {"copr-operator.dev/build": "7"}),
    ("labels", {"-": "a"}),
    ("annotations", {"a b": "c"}),
    ("env", {"NOT-A-NAME": "a"}),
    ("queueName", "Queue"),
    ("queueName", "q" * 64),
    ("caConfigMap", "Bundle"),
    ("priorityClassName", "very high"),
    ("imagePullSecrets", [""]),
]


@pytest.mark.parametrize(
    "needs",
    [
        {"backend.tls.caConfigMap": "ca"},
        {"buildPods.caConfigMap": "ca"},
        {"buildPods.imagePullSecrets": ["pull"]},
        {"buildPods.queueName": "q"},
    ],
    ids=str,
)
def test_helm_test_says_at_once_when_a_namespace_of_its_own_would_lack_what_build_pods_need(
    needs: dict[str, Any],
) -> None:
    alone = rendered({"chroots": [CHROOT]})
    assert follows(smoke, "--namespace")(alone) == "copr-operator-test"
    assert "copr-operator-test" in alone.names("Namespace") & alone.names("Role")
    needs = {**needs, "chroots": [CHROOT]}
    made = rendered(needs)
    assert follows(smoke, "--namespace")(made) == ""
    assert "copr-operator-test" not in made.names("Namespace") | made.names("Role")
    done = CliRunner().invoke(main, smoke(made))
    assert (done.exit_code, "give a namespace that has them" in done.output) == (1, True)
    assert follows(smoke, "--namespace")(rendered({**needs, "test.namespace": "n"})) == "n"
    assert follows(smoke, "--namespace")(rendered({**needs, "watchNamespaces": ["w"]})) == "w"


SERVICE_URL = "http://copr-backend.copr-operator.svc:8080"


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"backend.ingress.enabled": True, "backend.ingress.host": "*.example"}, SERVICE_URL),
        ({"backend.httpRoute.hostnames": ["*.example"]}, SERVICE_URL),
        ({"backend.httpRoute.hostnames": ["*.example", "a.example"]}, "https://a.example"),
        ({"backend.httpRoute.hostnames": ["*.example"], "backend.resultsURL": "http://b.example"}, "http://b.example"),
    ],
    ids=str,
)
def test_a_name_with_a_star_is_none_that_people_reach(values: dict[str, Any], url: str) -> None:
    route = {"backend.httpRoute.enabled": True, "backend.httpRoute.parentRefs": [{"name": "gateway"}]}
    made = rendered({**route, **values})
    assert made.settings("controller")["COPR_CONTROLLER_RESULTS_URL"] == url


def test_what_a_route_hangs_on_may_be_of_any_kind() -> None:
    parent = {"group": "", "kind": "Service", "name": "mesh", "port": 80}
    made = rendered({"backend.httpRoute.enabled": True, "backend.httpRoute.parentRefs": [parent]})
    assert made.find("HTTPRoute", "copr-operator-backend")["spec"]["parentRefs"] == [parent]


@pytest.mark.parametrize(("name", "value"), STOPS_THE_CONTROLLER, ids=str)
def test_what_the_controller_would_not_start_with_is_refused_before(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        BuildPods.model_validate({name: value})
    with pytest.raises(HelmError, match=f"at '/buildPods/{name}"):
        rendered({f"buildPods.{name}": value})


def taken(rules: EgressRules) -> bool:
    try:
        check_rules(rules)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "entry",
    ["10.0.0.0/8", "10.0.0.7", "10.0.0.0/255.0.0.0", "fd00::/8", "::1", "64:ff9b::192.0.2.1", "git.internal",
     "*.internal", "localhost", "git-2", "g", "10.0.0.0/33", "10.0.0", "300.0.0.1", "https://git.internal",
     "git.internal:8443", "ab:80", "10.0.0.1:80", "git.internal/x", "*", "a b", ""],
)  # fmt: skip
def test_the_schema_takes_the_places_of_sources_that_the_controller_takes(entry: str) -> None:
    patterns = {name: schema["items"]["pattern"] for name, schema in definitions("allowedSources", "networks").items()}
    assert bool(re.search(patterns["allowedSources"], entry)) == taken(EgressRules(allow=(entry,)))
    assert bool(re.search(patterns["networks"], entry)) == taken(EgressRules(deny=(entry,)))


def definitions(*names: str) -> dict[str, Any]:
    return {name: chart_values.schema()["$defs"][name] for name in names}


@pytest.mark.parametrize(
    "path", ["commonLabels", "backend.podLabels", "controller.podLabels", "metrics.podMonitor.labels"]
)
def test_a_label_of_the_charts_own_can_not_be_given_again(path: str) -> None:
    """The key would be there twice, which is no YAML."""
    made = rendered({"metrics.podMonitor.enabled": True, "metrics.serviceMonitor.enabled": True})
    own = {key for one in made.all for key in one["metadata"].get("labels", {}) if not key.startswith("rbac.")}
    of_pods = set(made.template("backend")["metadata"]["labels"])
    assert (own, of_pods) == (
        {*chart_values.OWN_LABELS, "pod-security.kubernetes.io/enforce"} & own, set(chart_values.OWN_LABELS[:2])
    )  # fmt: skip
    for label in of_pods if "pod" in path and "metrics" not in path else chart_values.OWN_LABELS:
        with pytest.raises(HelmError, match=f"at '/{path.replace('.', '/')}"):
            rendered({path: {label: "x"}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *WRONG.items(),
        ("chroots", [{**CHROOT, "imag": "x"}]),
        ("sources.distGits", [{**DIST_GIT, "cloneURL": "https://g.example/"}]),
        ("sources.distGits", [{**DIST_GIT, "lookasideURL": "https://f.example/"}]),
    ],
    ids=str,
)
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
