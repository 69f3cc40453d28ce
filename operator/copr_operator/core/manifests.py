"""The Jobs of a build, as Kubernetes manifests. Why each field is as it is: docs/architecture.md, "Build pods"."""

from collections.abc import Mapping
from typing import Any

from copr_operator.api.chroot import ChrootResources
from copr_operator.core import arches, names, sources
from copr_operator.core.config import BuildPods, OperatorConfig
from copr_operator.core.observed import BuildView, Observed
from copr_operator.core.outcome import COLLECT, FETCH, work_container
from copr_operator.core.quantities import smaller
from copr_operator.core.stepplan import step_plan
from copr_operator.core.wire import AgentExit, ScmSource, StepPlan

UPLOAD_BUDGET = 60
"""Seconds `collect` has after the end of the untrusted container to store what there is when the pod is deleted."""
KILL_BUDGET = 10
"""Seconds the wrapper needs to end its child on TERM."""

SAFE_TO_EVICT = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
CA_VARIABLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO")
"""What OpenSSL, curl, Python's requests and git take a CA bundle from."""
BACKEND_CA_MOUNT = {"name": "backend-ca", "mountPath": names.BACKEND_CA_DIR, "readOnly": True}

# Pod Security "baseline" admits these; no SYS_ADMIN, no NET_*: dnf needs them to install packages.
BUILD_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETUID", "SETGID", "SETFCAP", "SYS_CHROOT", "KILL",
)  # fmt: skip


def build_labels(build: BuildView) -> dict[str, str]:
    """Labels of the CoprBuild itself, set once: for people and selectors, never for decisions."""
    return {
        names.LABEL_BUILD_ID: str(build.status.id),
        names.LABEL_OWNER: names.label_value(build.spec.owner),
        names.LABEL_PROJECT: names.label_value(build.spec.project),
    }


def job(observed: Observed, step: str, attempt: int, config: OperatorConfig) -> dict[str, Any]:
    """The Job of one step and attempt. Its name, and so the whole of it, is the same whenever it is made."""
    build = observed.build
    labels = {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_BUILD_UID: build.uid,
        names.LABEL_BUILD_ID: str(build.status.id),
        names.LABEL_STEP: "source" if step == names.SOURCE_STEP else "rpm",
        names.LABEL_ATTEMPT: str(attempt),
    }
    if step != names.SOURCE_STEP:
        labels[names.LABEL_CHROOT] = names.label_value(step)
    queue = config.build_pods.queue_name
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.job_name(build.uid, step, attempt),
            "namespace": build.namespace,
            "labels": labels | ({names.LABEL_QUEUE: queue} if queue is not None else {}),
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": "CoprBuild",
                    "name": build.name,
                    "uid": build.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "ttlSecondsAfterFinished": config.ttl_after_finished,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": _failure_policy(step),
            "template": {
                "metadata": {
                    "labels": config.build_pods.labels | labels,
                    "annotations": config.build_pods.annotations | SAFE_TO_EVICT,
                },
                "spec": _pod_spec(observed, step, attempt, config),
            },
        },
    }


def is_isolated(job: Mapping[str, Any]) -> bool:
    """Whether a Job, as the API server has stored it, still has a user namespace of its own.

    A cluster that does not know `hostUsers` drops the field without a word: the pod's root would be the node's.
    """
    return job["spec"]["template"]["spec"].get("hostUsers") is False


def _failure_policy(step: str) -> dict[str, Any]:
    """Every rule fails the Job: a retry is a new Job. The order decides which of them the Job's condition names."""

    def on_exit(container: str, operator: str, value: int) -> dict[str, Any]:
        codes = {"containerName": container, "operator": operator, "values": [value]}
        return {"action": "FailJob", "onExitCodes": codes}

    return {
        "rules": [
            {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            on_exit(FETCH, "In", AgentExit.INFRA),
            on_exit(COLLECT, "In", AgentExit.INFRA),
            on_exit(work_container(step), "NotIn", 0),
        ]
    }


def _pod_spec(observed: Observed, step: str, attempt: int, config: OperatorConfig) -> dict[str, Any]:
    plan = step_plan(observed, step, attempt, config)
    chroot_name = _image_chroot(observed, step)
    chroot = observed.chroots[chroot_name] if chroot_name is not None else None
    node_selector = config.build_pods.node_selector | {"kubernetes.io/os": "linux"}
    if chroot is not None:
        node_selector |= {"kubernetes.io/arch": arches.node_arch(chroot.arch), **chroot.node_selector}
    limits = plan.limits
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "hostUsers": False,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # The backstop: counts from the pod's start, so neither the queue nor quota use it up.
        "activeDeadlineSeconds": config.deadlines.starting + limits.fetch + limits.timeout + config.deadlines.importing,
        "terminationGracePeriodSeconds": KILL_BUDGET + limits.upload,
        "nodeSelector": node_selector,
        "initContainers": [_fetch(plan, config)],
        "containers": [
            _work(observed.build, step, config.source_image if chroot is None else chroot.image, chroot_resources(
                chroot.resources if chroot is not None else None, observed.build, config), plan, config),
            _agent(COLLECT, plan, config, writes=()),
        ],
        "volumes": _volumes(config) + _source_volumes(observed.build, plan),
    }  # fmt: skip
    runtime_class = chroot.runtime_class_name if chroot is not None else None
    return spec | _placement(config.build_pods, runtime_class, background=observed.build.spec.background)


def _placement(wanted: BuildPods, runtime_class: str | None, *, background: bool) -> dict[str, Any]:
    """Where and how the pod may run, as the administrator says; a field that nobody sets stays absent."""
    priority = (wanted.background_priority_class_name if background else None) or wanted.priority_class_name
    fields = {
        "runtimeClassName": runtime_class or wanted.runtime_class_name,
        "priorityClassName": priority,
        "tolerations": wanted.tolerations,
        "affinity": wanted.affinity,
        "imagePullSecrets": [{"name": name} for name in wanted.image_pull_secrets],
    }
    return {name: value for name, value in fields.items() if value}


def _image_chroot(observed: Observed, step: str) -> str | None:
    """The chroot whose image the step runs in; None for the installation's source image."""
    if step != names.SOURCE_STEP:
        return step
    project, source = observed.project, observed.build.spec.source
    assert project is not None and source is not None  # noqa: S101, PT018 (core.gates and core.plan have seen both)
    return sources.image_chroot(source, project.spec)


def chroot_resources(
    resources: ChrootResources | None, build: BuildView, config: OperatorConfig
) -> dict[str, dict[str, str]]:
    """Requests and limits of the untrusted container. Its memory limit is the build's own, and the limits come from
    several people, so no request is taken as it is: above its limit it would have the API server refuse the Job."""
    if resources is None:
        resources = ChrootResources(cpu_request=config.source_cpu_request, storage_limit=config.source_storage_limit)
    limits = {
        "cpu": resources.cpu_limit,
        "memory": f"{build.spec.memory_limit_mb}Mi",
        "ephemeral-storage": resources.storage_limit,
    }
    requests = {
        "cpu": resources.cpu_request,
        "memory": resources.memory_request,
        "ephemeral-storage": resources.storage_request,
    }
    return {"requests": {name: smaller(requests[name], limits[name]) for name in limits}, "limits": limits}


def _work(
    build: BuildView,
    step: str,
    image: str,
    resources: Mapping[str, Any],
    plan: StepPlan,
    config: OperatorConfig,
) -> dict[str, Any]:
    """The untrusted container: no token, no plan, the inputs read-only."""
    security: dict[str, Any] = {
        "runAsUser": 0,
        "runAsGroup": 0,
        "privileged": False,
        "capabilities": {"drop": ["ALL"], "add": list(BUILD_CAPABILITIES)},
    }
    if plan.network_profile == "sysadmin":
        security["capabilities"]["add"].append("SYS_ADMIN")
        security["seccompProfile"] = {"type": "RuntimeDefault"}
    ca_env, ca_mounts = _outward_ca(config)
    if config.backend_ca_config_map is not None:
        ca_mounts.append(BACKEND_CA_MOUNT)  # dnf reads the project's own repositories
    return {
        "name": work_container(step),
        "image": image,
        "imagePullPolicy": config.image_pull_policy,
        "command": ["/bin/bash", f"{names.IN_DIR}/scripts/main.sh"],
        "env": [
            *_outward_env(config.build_pods), {"name": "HOME", "value": "/root"}, {"name": "LANG", "value": "C.UTF-8"},
            *ca_env,
        ],
        "resources": resources,
        "securityContext": security,
        "volumeMounts": [
            {"name": "in", "mountPath": names.IN_DIR, "readOnly": True},
            {"name": "out", "mountPath": names.OUT_DIR},
            {"name": "ctl", "mountPath": names.CTL_DIR},
            *ca_mounts,
        ],
    }  # fmt: skip


def _outward_env(wanted: BuildPods) -> list[dict[str, Any]]:
    """How the containers that reach the world outside do it, through a proxy for example."""
    return [{"name": name, "value": value} for name, value in wanted.env.items()]


def _outward_ca(config: OperatorConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Variables and mounts for the CA bundle of the servers that sources and packages come from."""
    if config.build_pods.ca_config_map is None:
        return [], []
    env = [{"name": name, "value": f"{names.CA_DIR}/ca.crt"} for name in CA_VARIABLES]
    return env, [{"name": "ca", "mountPath": names.CA_DIR, "readOnly": True}]


def _clones(plan: StepPlan) -> bool:
    return plan.source is not None and plan.source.type in ("scm", "distgit")


def _fetch(plan: StepPlan, config: OperatorConfig) -> dict[str, Any]:
    """The only container with the Secret of a private repository; it ends before user code starts."""
    container = _agent(FETCH, plan, config, writes=("in", "ctl"))
    if plan.step == "source":
        env, mounts = _outward_ca(config)
        container["env"] += env
        container["volumeMounts"] += mounts
    if _clones(plan):
        container["volumeMounts"].append({"name": "private", "mountPath": names.PRIVATE_DIR})
        # git's index-pack of a large repository.
        container["resources"]["limits"] |= {"memory": "1Gi", "ephemeral-storage": "8Gi"}
    if isinstance(plan.source, ScmSource) and plan.source.credentials:
        mount = {"name": "credentials", "mountPath": names.CREDENTIALS_DIR, "readOnly": True}
        container["volumeMounts"].append(mount)
    return container


def _source_volumes(build: BuildView, plan: StepPlan) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = []
    if _clones(plan):
        volumes.append({"name": "private", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}})
    source = build.spec.source
    scm = source.scm if source is not None else None
    if plan.step == "source" and scm is not None and scm.credentials_secret is not None:
        # optional: a pod that waits for a Secret says so in its events only, and is tried again; `fetch` says it now.
        secret = {"secretName": scm.credentials_secret, "optional": True, "defaultMode": 0o400}
        volumes.append({"name": "credentials", "secret": secret})
    return volumes


def _literal(json: str) -> str:
    """The same JSON without a dollar sign: the kubelet would make `$` of `$$`, and put variables in for `$(NAME)`."""
    return json.replace("$", "\\u0024")


def _agent(name: str, plan: StepPlan, config: OperatorConfig, *, writes: tuple[str, ...]) -> dict[str, Any]:
    """A trusted container. Root of the pod's user namespace, so that it can read what uid 1000 left."""
    env = [{"name": "COPR_PLAN", "value": _literal(plan.model_dump_json(exclude_none=True))}]
    mounts: list[dict[str, Any]] = [
        {"name": "token", "mountPath": names.TOKEN_PATH.rpartition("/")[0], "readOnly": True},
        {"name": "ctl", "mountPath": names.CTL_DIR, "readOnly": "ctl" not in writes},
        # collect reads the checksum of the source there: nothing untrusted can write it.
        {"name": "in", "mountPath": names.IN_DIR, "readOnly": "in" not in writes},
    ]
    if "in" in writes:
        env = [*_outward_env(config.build_pods), *env]
    else:
        mounts.append({"name": "out", "mountPath": names.OUT_DIR, "readOnly": True})
    if config.backend_ca_config_map is not None:
        env.append({"name": "COPR_BACKEND_CA", "value": f"{names.BACKEND_CA_DIR}/ca.crt"})
        mounts.append(BACKEND_CA_MOUNT)
    return {
        "name": name,
        "image": config.operator_image,
        "imagePullPolicy": config.image_pull_policy,
        "args": ["agent", name],
        "env": env,
        "resources": {
            "requests": {"cpu": "10m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
            "limits": {"memory": "256Mi", "ephemeral-storage": "1Gi"},
        },
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
    }


def _volumes(config: OperatorConfig) -> list[dict[str, Any]]:
    token = {"serviceAccountToken": {"audience": names.TOKEN_AUDIENCE, "expirationSeconds": 3600, "path": "token"}}
    volumes: list[dict[str, Any]] = [
        {"name": "in", "emptyDir": {}},
        {"name": "out", "emptyDir": {}},
        {"name": "ctl", "emptyDir": {}},
        {"name": "token", "projected": {"sources": [token]}},
    ]
    if config.backend_ca_config_map is not None:
        volumes.append({"name": "backend-ca", "configMap": {"name": config.backend_ca_config_map}})
    if config.build_pods.ca_config_map is not None:
        volumes.append({"name": "ca", "configMap": {"name": config.build_pods.ca_config_map}})
    return volumes
