"""Every value of the chart: what it is set to, where that shows, and what shows there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chart.objects import Objects

Find = Callable[[Objects], Any]
DIGEST = "sha256:" + "a" * 64
CHROOT = {"name": "debian-12-x86_64", "image": "chroot:1", "arch": "x86_64"}
DIST_GIT = {"name": "own", "cloneURL": "https://g.example/{package}", "lookasideURL": "https://f.example/{filename}"}
TOLERATIONS = [{"key": "pool", "operator": "Exists"}]
AFFINITY: dict[str, Any] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
SPREAD = [{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]


@dataclass(frozen=True)
class Case:
    """`find` finds `shows` when the value at `path` is `value`, beside the values `beside`; and else does not."""

    path: str
    value: Any
    find: Find
    shows: Any
    beside: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.path


def case(path: str, value: Any, find: Find, shows: Any = ..., **beside: Any) -> Case:
    """A value that shows as it is, unless `shows` says otherwise. `beside`: paths with `__` for dots."""
    return Case(
        path, value, find, value if shows is ... else shows, {k.replace("__", "."): v for k, v in beside.items()}
    )


def by_name(name: str) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Finds the member of that name."""

    def find(members: list[dict[str, Any]]) -> dict[str, Any]:
        return next((one for one in members if one["name"] == name), {})

    return find


def metadata(kind: str, name: str) -> Find:
    return lambda objects: objects.find(kind, name)["metadata"]


def part(find: Find, *keys: Any) -> Find:
    """What is at `keys` below what `find` finds."""

    def deeper(objects: Objects) -> Any:
        place = find(objects)
        for key in keys:
            place = place[key]
        return place

    return deeper


def kind_exists(kind: str, name: str) -> Find:
    return lambda objects: name in objects.names(kind)


def pod_cases(component: str) -> list[Case]:
    """The values that every component has."""

    def pod(objects: Objects) -> Any:
        return objects.pod(component)

    def container(objects: Objects) -> Any:
        return objects.container(component)

    def template(objects: Objects) -> Any:
        return objects.template(component)["metadata"]

    account = f"copr-operator-{component}"
    extra = by_name("extra")
    return [
        case(f"{component}.{path}", value, find, shows)
        for path, value, find, shows in (
            ("logLevel", "debug", lambda o: o.settings(component)[f"COPR_{component.upper()}_LOG_LEVEL"], ...),
            ("resources", {"requests": {"cpu": "9m"}}, part(container, "resources", "requests", "cpu"), "9m"),
            ("nodeSelector", {"pool": "a"}, part(pod, "nodeSelector"), ...),
            ("tolerations", TOLERATIONS, part(pod, "tolerations"), ...),
            ("affinity", AFFINITY, part(pod, "affinity"), ...),
            ("topologySpreadConstraints", SPREAD, part(pod, "topologySpreadConstraints"), ...),
            ("priorityClassName", "high", part(pod, "priorityClassName"), ...),
            ("runtimeClassName", "kata", part(pod, "runtimeClassName"), ...),
            ("extraEnv", [{"name": "A", "value": "b"}], part(container, "env"), ...),
            ("extraArgs", ["--x=y"], lambda o: o.container(component)["args"], [component, "--x=y"]),
            ("extraVolumes", [{"name": "extra", "emptyDir": {}}], lambda o: extra(o.pod(component)["volumes"]),
             {"name": "extra", "emptyDir": {}}),
            ("extraVolumeMounts", [{"name": "extra", "mountPath": "/x"}],
             lambda o: extra(o.container(component)["volumeMounts"]), {"name": "extra", "mountPath": "/x"}),
            ("podLabels", {"team": "a"}, part(template, "labels", "team"), "a"),
            ("podAnnotations", {"note": "a"}, part(template, "annotations", "note"), "a"),
            ("serviceAccount.create", False, kind_exists("ServiceAccount", account), False),
            ("serviceAccount.name", "own", part(pod, "serviceAccountName"), ...),
            ("serviceAccount.annotations", {"role": "a"},
             part(metadata("ServiceAccount", account), "annotations", "role"), "a"),
        )
    ]  # fmt: skip


def service_cases(component: str, url: str, settings: str) -> list[Case]:
    """Service, Ingress and HTTPRoute of a component; `url` is the setting that says how people reach it."""
    name = f"copr-operator-{component}"

    def service(objects: Objects) -> Any:
        return objects.find("Service", f"copr-{component}")

    def public(objects: Objects) -> Any:
        return objects.settings(settings)[url]

    def port(objects: Objects) -> Any:
        return service(objects)["spec"]["ports"][0]

    ingress = part(lambda o: o.find("Ingress", name), "spec")
    route = part(lambda o: o.find("HTTPRoute", name), "spec")
    exposed = {f"{component}.ingress.enabled": True, f"{component}.ingress.host": "copr.example"}
    routed = {f"{component}.httpRoute.enabled": True, f"{component}.httpRoute.parentRefs": [{"name": "gateway"}]}
    return [
        case(f"{component}.service.name", "other", lambda o: "other" in o.names("Service"), True),
        case(f"{component}.service.type", "LoadBalancer", part(service, "spec", "type")),
        case(f"{component}.service.port", 80, part(port, "port")),
        Case(f"{component}.service.nodePort", 30001, part(port, "nodePort"), 30001,
             {f"{component}.service.type": "NodePort"}),
        case(f"{component}.service.annotations", {"a": "b"}, part(service, "metadata", "annotations"), {"a": "b"}),
        Case(f"{component}.ingress.enabled", True, public, "http://copr.example", exposed),
        Case(f"{component}.ingress.host", "a.example", part(ingress, "rules", 0, "host"), "a.example", exposed),
        Case(f"{component}.ingress.className", "nginx", part(ingress, "ingressClassName"), "nginx", exposed),
        Case(f"{component}.ingress.annotations", {"a": "b"},
             part(metadata("Ingress", name), "annotations"), {"a": "b"}, exposed),
        Case(f"{component}.ingress.tlsSecretName", "cert", part(ingress, "tls"),
             [{"secretName": "cert", "hosts": ["copr.example"]}], exposed),
        Case(f"{component}.httpRoute.enabled", True, part(route, "rules", 0, "backendRefs"),
             [{"group": "", "kind": "Service", "name": f"copr-{component}", "port": 8080, "weight": 1}], routed),
        Case(f"{component}.httpRoute.parentRefs", [{"name": "b", "sectionName": "https"}], part(route, "parentRefs"),
             [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "b", "sectionName": "https"}], routed),
        Case(f"{component}.httpRoute.annotations", {"a": "b"},
             part(metadata("HTTPRoute", name), "annotations"), {"a": "b"}, routed),
        Case(f"{component}.httpRoute.hostnames", ["a.example"], public, "https://a.example", routed),
    ]  # fmt: skip


def claim(*keys: Any) -> Find:
    return lambda o: part(lambda o: o.workload("backend")["spec"]["volumeClaimTemplates"][0], *keys)(o)


def controller(name: str) -> Find:
    return lambda o: o.settings("controller")[f"COPR_CONTROLLER_{name}"]


def build_pods(name: str) -> Find:
    return lambda o: o.build_pods()[name]


def subject_namespaces(objects: Objects) -> set[str | None]:
    """Where the controller has rights over builds: None for the whole cluster."""
    return {
        one["metadata"].get("namespace")
        for one in objects.all
        if one["kind"].endswith("RoleBinding") and one["metadata"]["name"].startswith("copr-operator-controller")
    }


def monitor(kind: str, component: str) -> Find:
    return lambda o: o.find(kind, f"copr-operator-{component}")


def smoke(objects: Objects) -> list[str]:
    arguments: list[str] = objects.find("Pod", "copr-operator-test")["spec"]["containers"][0]["args"]
    return arguments


def follows(find: Callable[[Objects], list[str]], option: str) -> Find:
    """The argument after an option."""
    return lambda o: find(o)[find(o).index(option) + 1]


def drain(objects: Objects) -> Any:
    return objects.find("Job", "copr-operator-drain")["spec"]


def project(objects: Objects) -> Any:
    (found,) = (one for one in objects.all if one["kind"] == "CoprProject")
    return found


OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {"a": "b"}}
BUILDS = "coprbuilds.copr-operator.dev"
MAX_FILE = "COPR_BACKEND_MAX_FILE_BYTES"

CASES: tuple[Case, ...] = (
    case("nameOverride", "x", lambda o: "copr-operator-x-controller" in o.names("Deployment"), True),
    case("fullnameOverride", "x", kind_exists("Deployment", "x-controller"), True),
    case("commonLabels", {"a": "b"}, part(metadata("Service", "copr-backend"), "labels", "a"), "b"),
    case("commonAnnotations", {"a": "b"}, part(metadata("Service", "copr-backend"), "annotations", "a"), "b"),
    case("watchNamespaces", ["a", "b"], subject_namespaces, {"a", "b", "copr-operator", None}),
    case("watchNamespaces", ["a", "b"], controller("WATCH"), "a b"),
    case("image.repository", "r/o", lambda o: o.container("backend")["image"], "r/o:0.1.0"),
    case("image.tag", "7", controller("OPERATOR_IMAGE"), "copr-operator/operator:7"),
    case("image.digest", DIGEST, lambda o: o.container("controller")["image"], f"copr-operator/operator@{DIGEST}"),
    case("image.pullPolicy", "Always", controller("IMAGE_PULL_POLICY")),
    case("image.pullPolicy", "Never", lambda o: o.container("frontend")["imagePullPolicy"]),
    case("sourceImage.repository", "r/s", controller("SOURCE_IMAGE"), "r/s:0.1.0"),
    case("sourceImage.tag", "7", controller("SOURCE_IMAGE"), "copr-operator/source:7"),
    case("sourceImage.digest", DIGEST, controller("SOURCE_IMAGE"), f"copr-operator/source@{DIGEST}"),
    case("imagePullSecrets", [{"name": "s"}],
         lambda o: [spec.get("imagePullSecrets") for spec in o.pod_specs().values()],
         [[{"name": "s"}]] * 5, chroots=[CHROOT]),
    case("crds.enabled", False, lambda o: o.names("CustomResourceDefinition"), set()),
    case("crds.keep", False, lambda o: "annotations" in metadata("CustomResourceDefinition", BUILDS)(o)),
    case("rbac.create", False,
         lambda o: [one["metadata"]["name"] for one in o.all if one["kind"].startswith(("Role", "ClusterRoleBinding"))],
         [], chroots=[CHROOT]),
    case("rbac.aggregate", False, kind_exists("ClusterRole", "copr-operator-view")),
    case("openshift.enabled", True, kind_exists("SecurityContextConstraints", "copr-build-pods"), True),
    case("openshift.enabled", True,
         lambda o: [{"runAsUser", "fsGroup"} & set(spec["securityContext"]) for spec in o.pod_specs().values()],
         [set()] * 5, chroots=[CHROOT]),
    case("proxy.http", "http://p:1", lambda o: o.build_pods()["env"]["http_proxy"]),
    case("proxy.https", "http://p:1", lambda o: o.build_pods()["env"]["HTTPS_PROXY"]),
    case("proxy.noProxy", "a.example", lambda o: o.build_pods()["env"]["no_proxy"],
         "localhost,127.0.0.1,.svc,.cluster.local,a.example", proxy__http="http://p:1"),
    case("controller.replicas", 2, lambda o: o.workload("controller")["spec"]["replicas"]),
    case("controller.workers", 3, controller("WORKERS"), "3"),
    case("controller.resyncSeconds", 1000000, controller("RESYNC_SECONDS"), "1000000"),
    *pod_cases("controller"),
    *pod_cases("backend"),
    *pod_cases("frontend"),
    *service_cases("backend", "COPR_CONTROLLER_RESULTS_URL", "controller"),
    *service_cases("frontend", "COPR_FRONTEND_FRONTEND_URL", "frontend"),
    case("backend.resultsURL", "https://r.example", controller("RESULTS_URL")),
    case("backend.settings", {"maxFileBytes": 4294967296}, lambda o: o.settings("backend")[MAX_FILE], "4294967296"),
    case("backend.objectStorage.url", "s3://b/p", lambda o: o.settings("backend").get("COPR_BACKEND_OBJECTS_URL")),
    case("backend.objectStorage.secretName", "s3", lambda o: o.container("backend")["envFrom"][1:],
         [{"secretRef": {"name": "s3"}}]),
    case("backend.persistence.enabled", False, lambda o: by_name("results")(o.pod("backend")["volumes"]),
         {"name": "results", "emptyDir": {}}, backend__objectStorage__url="s3://b/p"),
    case("backend.persistence.size", "1Ti", claim("spec", "resources", "requests", "storage")),
    case("backend.persistence.storageClass", "", claim("spec", "storageClassName")),
    case("backend.persistence.volumeName", "v", claim("spec", "volumeName")),
    case("backend.persistence.existingClaim", "c", lambda o: by_name("results")(o.pod("backend")["volumes"]),
         {"name": "results", "persistentVolumeClaim": {"claimName": "c"}}),
    case("backend.persistence.accessModes", ["ReadWriteOncePod"], claim("spec", "accessModes")),
    case("backend.persistence.annotations", {"a": "b"}, claim("metadata", "annotations")),
    case("backend.tls.secretName", "t", controller("BACKEND_URL"), "https://copr-backend.copr-operator.svc:8080"),
    case("backend.tls.secretName", "t", lambda o: o.container("backend")["readinessProbe"]["httpGet"].get("scheme"),
         "HTTPS"),
    case("backend.tls.caConfigMap", "ca", controller("BACKEND_CA_CONFIG_MAP")),
    case("frontend.enabled", False, lambda o: "copr-frontend" in o.names("Service")),
    case("frontend.replicas", 1, kind_exists("PodDisruptionBudget", "copr-operator-frontend"), False),
    case("frontend.tls.secretName", "t", lambda o: o.settings("frontend")["COPR_FRONTEND_FRONTEND_URL"],
         "https://copr-frontend.copr-operator.svc:8080"),
    case("frontend.tls.secretName", "t", lambda o: by_name("tls")(o.pod("frontend")["volumes"]),
         {"name": "tls", "secret": {"secretName": "t"}}),
    case("frontend.tls.secretName", "t", lambda o: o.container("frontend")["livenessProbe"]["httpGet"].get("scheme"),
         "HTTPS"),
    case("frontend.tls.secretName", "t", lambda o: o.settings("backend")["COPR_BACKEND_FRONTEND_URL"],
         "https://copr-frontend.copr-operator.svc:8080"),
    case("frontend.tls.caConfigMap", "ca", lambda o: o.settings("backend").get("COPR_BACKEND_FRONTEND_CA_FILE"),
         "/etc/copr-frontend/ca.crt"),
    case("frontend.tls.caConfigMap", "ca", lambda o: by_name("frontend-ca")(o.pod("backend")["volumes"]),
         {"name": "frontend-ca", "configMap": {"name": "ca"}}),
    case("frontend.tls.caConfigMap", "ca", lambda o: by_name("frontend-ca")(o.container("backend")["volumeMounts"]),
         {"name": "frontend-ca", "mountPath": "/etc/copr-frontend", "readOnly": True}),
    case("frontend.url", "https://f.example", lambda o: o.settings("frontend")["COPR_FRONTEND_FRONTEND_URL"]),
    case("buildPods.sourceCPURequest", "9m", controller("SOURCE_CPU_REQUEST")),
    case("buildPods.nodeSelector", {"a": "b"}, build_pods("nodeSelector")),
    case("buildPods.tolerations", TOLERATIONS, build_pods("tolerations")),
    case("buildPods.affinity", AFFINITY, build_pods("affinity")),
    case("buildPods.priorityClassName", "low", build_pods("priorityClassName")),
    case("buildPods.backgroundPriorityClassName", "lower", build_pods("backgroundPriorityClassName")),
    case("buildPods.runtimeClassName", "kata", build_pods("runtimeClassName")),
    case("buildPods.imagePullSecrets", ["s"], build_pods("imagePullSecrets")),
    case("buildPods.labels", {"a": "b"}, build_pods("labels")),
    case("buildPods.annotations", {"a": "b"}, build_pods("annotations")),
    case("buildPods.env", {"http_proxy": "own"}, build_pods("env"),
         {"http_proxy": "own", "HTTP_PROXY": "http://p:1", "no_proxy": "localhost,127.0.0.1,.svc,.cluster.local",
          "NO_PROXY": "localhost,127.0.0.1,.svc,.cluster.local"}, proxy__http="http://p:1"),
    case("buildPods.queueName", "q", build_pods("queueName")),
    case("buildPods.caConfigMap", "ca", build_pods("caConfigMap")),
    case("sources.allow", ["10.0.0.0/8", "a.example"], controller("SOURCE_ALLOW"), "10.0.0.0/8 a.example"),
    case("sources.deny", ["192.0.2.0/24"], controller("SOURCE_DENY"), "192.0.2.0/24"),
    case("sources.distGits", [DIST_GIT], lambda o: json.loads(o.settings("controller")["COPR_CONTROLLER_DIST_GITS"])),
    case("sources.distGits", [DIST_GIT], lambda o: json.loads(o.settings("frontend")["COPR_FRONTEND_DIST_GITS"])),
    case("sources.pypiURL", "https://p.example/pypi", controller("PYPI_URL")),
    case("sources.gemSource", "https://g.example/", controller("GEM_SOURCE")),
    case("frontend.settings", {"maxUploads": 4}, lambda o: o.settings("frontend")["COPR_FRONTEND_MAX_UPLOADS"], "4"),
    case("chroots", [CHROOT], lambda o: o.find("CoprChroot", "debian-12-x86-64")["spec"], CHROOT),
    case("demo.enabled", True, part(project, "spec", "chroots"), [{"name": CHROOT["name"]}], chroots=[CHROOT]),
    case("demo.namespace", "n", part(project, "metadata", "namespace"), demo__enabled=True),
    case("demo.owner", "o", part(project, "spec", "owner"), demo__enabled=True),
    case("demo.name", "m", part(project, "spec", "name"), demo__enabled=True),
    case("demo.chroots", ["a-1-i386"], part(project, "spec", "chroots"), [{"name": "a-1-i386"}], demo__enabled=True),
    case("priorityClasses", [{"name": "p", "value": 10000000}], lambda o: o.find("PriorityClass", "p")["value"],
         10000000),
    case("podDisruptionBudget.enabled", False, kind_exists("PodDisruptionBudget", "copr-operator-frontend")),
    *(
        Case(f"metrics.{name}.{value}", given, find, shows, {f"metrics.{name}.enabled": True})
        for name, kind, component, endpoints in (
            ("serviceMonitor", "ServiceMonitor", "backend", "endpoints"),
            ("serviceMonitor", "ServiceMonitor", "frontend", "endpoints"),
            ("podMonitor", "PodMonitor", "controller", "podMetricsEndpoints"),
        )
        for value, given, find, shows in (
            ("enabled", True, kind_exists(kind, f"copr-operator-{component}"), True),
            ("labels", {"a": "b"}, part(monitor(kind, component), "metadata", "labels", "a"), "b"),
            ("interval", "9s", part(monitor(kind, component), "spec", endpoints, 0, "interval"), "9s"),
        )
    ),
    Case("metrics.serviceMonitor.caConfigMap", "ca",
         part(monitor("ServiceMonitor", "backend"), "spec", "endpoints", 0, "tlsConfig", "ca", "configMap", "name"),
         "ca", {"metrics.serviceMonitor.enabled": True, "backend.tls.secretName": "t"}),
    case("uninstall.drain", False, kind_exists("Job", "copr-operator-drain")),
    case("uninstall.patienceSeconds", 9, part(drain, "activeDeadlineSeconds"), 318),
    case("test.chroot", "c", follows(smoke, "--chroot")),
    case("test.namespace", "n", follows(smoke, "--namespace"), test__chroot="c"),
    case("test.limitSeconds", 9, follows(smoke, "--limit"), "9", test__chroot="c"),
    case("extraObjects", [OBJECT], lambda o: o.find("ConfigMap", "extra", None)["data"], {"a": "b"}),
    case("extraObjects", ["apiVersion: v1\nkind: Secret\nmetadata: {name: '{{ .Release.Name }}'}"],
         lambda o: o.names("Secret"), {"copr-operator"}),
)  # fmt: skip

APART = frozenset({
    "fullnameOverride", "nameOverride", "crds.enabled", "rbac.create", "frontend.enabled", "uninstall.drain",
    "backend.persistence.existingClaim", "backend.persistence.enabled",
    "podDisruptionBudget.enabled", "frontend.replicas", "watchNamespaces",
    "controller.serviceAccount.create", "backend.serviceAccount.create", "frontend.serviceAccount.create",
    "backend.service.nodePort", "frontend.service.nodePort", "extraObjects", "test.namespace", "demo.namespace",
})  # fmt: skip
"""Values that make less, or need what only another value gives."""


def everything(namespace: str) -> dict[str, Any]:
    """Values that make the most objects and fields in one rendering. `namespace`: of the demo project."""
    together = {case.path: case.value for case in CASES if case.path not in APART}
    return {**together, "demo.enabled": True, "demo.namespace": namespace, "demo.name": "demo"}
