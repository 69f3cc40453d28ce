"""What a rendered chart holds, found by short words."""

import copy
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from tests.support.chart import NAMESPACE, RELEASE, render


class Objects:
    """The objects of one rendering, hooks among them."""

    def __init__(self, objects: list[dict[str, Any]]) -> None:
        self.all = objects

    def find(self, kind: str, name: str, namespace: str | None = NAMESPACE) -> dict[str, Any]:
        """The object. Raises LookupError."""
        for one in self.all:
            metadata = one["metadata"]
            if (one["kind"], metadata["name"]) == (kind, name) and metadata.get("namespace", namespace) == namespace:
                return one
        raise LookupError(f"{kind} {name}")

    def names(self, kind: str) -> set[str]:
        return {one["metadata"]["name"] for one in self.all if one["kind"] == kind}

    def workload(self, component: str) -> dict[str, Any]:
        kind = "StatefulSet" if component == "backend" else "Deployment"
        return self.find(kind, f"{RELEASE}-{component}")

    def template(self, component: str) -> dict[str, Any]:
        """metadata and spec of a component's pods."""
        template: dict[str, Any] = self.workload(component)["spec"]["template"]
        return template

    def pod(self, component: str) -> dict[str, Any]:
        spec: dict[str, Any] = self.template(component)["spec"]
        return spec

    def container(self, component: str) -> dict[str, Any]:
        (container,) = self.pod(component)["containers"]
        found: dict[str, Any] = container
        return found

    def settings(self, component: str) -> dict[str, str]:
        """Environment of a component, from its ConfigMap."""
        data: dict[str, str] = self.find("ConfigMap", f"{RELEASE}-{component}-settings")["data"]
        return data

    def variables(self, component: str) -> set[str]:
        """Names of the settings of a component, whatever it is called here; none when it is left out."""
        prefix = f"COPR_{component.upper()}_"
        found = {name for one in self.all if one["kind"] == "ConfigMap" for name in one["data"]}
        return {name for name in found if name.startswith(prefix)}

    def build_pods(self) -> dict[str, Any]:
        """What the controller gets as --build-pods."""
        pods: dict[str, Any] = json.loads(self.settings("controller")["COPR_CONTROLLER_BUILD_PODS"])
        return pods

    def pod_specs(self) -> dict[str, dict[str, Any]]:
        """Every pod that the chart makes, hooks' too: kind/name -> spec."""
        found = {}
        for one in self.all:
            if one["kind"] in ("Deployment", "StatefulSet", "Job"):
                found[f"{one['kind']}/{one['metadata']['name']}"] = one["spec"]["template"]["spec"]
            elif one["kind"] == "Pod":
                found[f"Pod/{one['metadata']['name']}"] = one["spec"]
        return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` -> `{"a": {"b": 1}}`."""
    result: dict[str, Any] = {}
    for path, value in values.items():
        *groups, name = path.split(".")
        place = result
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return result


@cache
def _rendered(values: str, options: tuple[str, ...]) -> list[dict[str, Any]]:
    return render(nested(json.loads(values)), *options)


def rendered(values: Mapping[str, Any] | None = None, *options: str) -> Objects:
    """The chart with values given by their paths; each set of values is rendered once."""
    return Objects(copy.deepcopy(_rendered(json.dumps(values or {}, sort_keys=True), options)))
