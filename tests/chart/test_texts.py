"""What YAML would read as a number or as a truth value stays a text, and every name is one that Kubernetes takes,
however the release is called."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chart.cases import CHROOT, everything
from tests.chart.objects import Objects, nested, rendered
from tests.support.chart import render

OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NUMBER = "1e3"
NAMED_LIKE_NUMBERS: dict[str, Any] = {
    **everything("2024"),
    "watchNamespaces": ["2024"],
    "image.repository": "7",
    "controller.serviceAccount.name": NUMBER,
    "backend.serviceAccount.name": NUMBER,
    "backend.service.name": "0x1",
    "frontend.service.name": "0o7",
    "backend.tls.secretName": NUMBER,
    "backend.tls.caConfigMap": NUMBER,
    "frontend.tls.secretName": "17",
    "frontend.tls.caConfigMap": "0017",
    "backend.objectStorage.secretName": "12",
    "backend.persistence.volumeName": NUMBER,
    "backend.ingress.host": "1.5",
    "backend.ingress.className": "1",
    "backend.ingress.tlsSecretName": "1",
    "backend.settings": {},
    "metrics.serviceMonitor.caConfigMap": "1",
    "priorityClasses": [{"name": NUMBER, "value": 1}],
    "demo.owner": "1",
    "demo.name": NUMBER,
}
TEXTS = frozenset({"name", "namespace", "host", "image", "claimName", "volumeName", "storageClassName", "serviceName"})


def not_texts(node: Any, path: str = "") -> Iterator[str]:
    """Where a name, a namespace or a member of `data` or `labels` is no string."""
    if isinstance(node, list):
        for number, one in enumerate(node):
            yield from not_texts(one, f"{path}[{number}]")
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        must = key in TEXTS or key.endswith("Name") or re.search(r"(data|labels|annotations|matchLabels)$", path)
        if must and not isinstance(value, str | dict):
            yield f"{path}.{key}: {value!r}"
        yield from not_texts(value, f"{path}.{key}")


def wrong(objects: list[dict[str, Any]]) -> list[str]:
    found = []
    for one in objects:
        if one["kind"] == "CustomResourceDefinition":
            continue
        where = f"{one['kind']} {one['metadata']['name']}"
        found += [f"{where}{text}" for text in not_texts(one)]
        if one["kind"] == "ServiceMonitor" or one["kind"] == "PodMonitor":
            found += [where for name in one["spec"]["namespaceSelector"]["matchNames"] if not isinstance(name, str)]
    return found


@pytest.mark.parametrize("namespace", [NUMBER, "2024", "0x1f"])
def test_names_that_look_like_numbers_stay_names(namespace: str) -> None:
    objects = render(nested(NAMED_LIKE_NUMBERS), release=namespace, namespace=namespace)
    assert wrong(objects) == []
    made = Objects(objects)
    roles = [one for one in objects if one["kind"] == "Role"]
    assert {one["metadata"]["namespace"] for one in roles} >= {namespace, "2024"}
    settings = {key: text for one in made.all if one["kind"] == "ConfigMap" for key, text in one["data"].items()}
    assert settings["COPR_CONTROLLER_WATCH"] == "2024"
    assert settings["COPR_CONTROLLER_NAMESPACE"] == settings["COPR_FRONTEND_NAMESPACE"] == namespace
    assert settings["COPR_BACKEND_CONTROLLER"] == f"system:serviceaccount:{namespace}:{NUMBER}"


@pytest.mark.parametrize(
    ("chroot", "name"),
    [
        ("fedora-43-x86_64", "fedora-43-x86-64"),
        ("rhel+epel-9-x86_64", "rhel-epel-9-x86-64"),
        ("opensuse-Leap_15.6-x86_64", "opensuse-leap-15.6-x86-64"),
        ("custom-1._2-x86_64_", "custom-1.2-x86-64"),
        ("c++.-1-i386", "c.1-i386"),
    ],
)
def test_a_chroot_gets_a_name_that_an_object_can_have(chroot: str, name: str) -> None:
    assert OBJECT_NAME.fullmatch(name)
    made = rendered({"chroots": [{**CHROOT, "name": chroot}], "demo.enabled": True, "demo.name": "My_Demo"})
    assert made.find("CoprChroot", name)["spec"]["name"] == chroot
    project = made.find("CoprProject", "my-demo", "default")
    assert project["spec"]["name"] == "My_Demo"
    assert project["spec"]["chroots"] == [{"name": chroot}]


LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@pytest.mark.parametrize("release", ["a" * 53, "team.example.org-" + "b" * 30, f"{'c' * 43}-copr-op"], ids=len)
def test_a_release_may_have_any_name_that_helm_takes(release: str) -> None:
    """What is named after it must be a label: pods, a namespace, and a StatefulSet with the hash of its revision."""
    made = Objects(render(nested({"chroots": [CHROOT]}), release=release))
    (backend,) = made.names("StatefulSet")
    assert LABEL.fullmatch(f"{backend}-{'0' * 10}")
    assert all(LABEL.fullmatch(name) for kind in ("Deployment", "Job", "Pod", "Namespace") for name in made.names(kind))


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("copr-operator", {}, "copr-operator"),
        ("builds", {}, "builds-copr-operator"),
        ("my-copr-operator", {}, "my-copr-operator"),
        ("builds", {"nameOverride": "copr"}, "builds-copr"),
        ("builds", {"fullnameOverride": "rpm"}, "rpm"),
        ("copr.builds", {"nameOverride": "copr"}, "copr-builds"),
    ],
)
def test_names_follow_the_release_or_what_is_given(release: str, values: dict[str, Any], name: str) -> None:
    made = Objects(render(values, release=release))
    assert made.names("StatefulSet") == {f"{name}-backend"}
