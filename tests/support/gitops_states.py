"""Objects in every state that a GitOps tool may meet, as the API server shows them.

The states are decided by the operator's own `plan` and `plan_project`, not written down: what GitOps tools are tested
with follows the operator. `make generate` writes them where Argo CD's tests look for them (manifests/argocd).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from copr_operator.api.build import BuildStatus
from copr_operator.api.crd import KINDS, definition
from copr_operator.api.package import DefinitionStatus, PackageSpec
from copr_operator.core import names
from copr_operator.core.manifests import build_labels
from copr_operator.core.observed import BuildView, PackageView, ProjectView, format_time
from copr_operator.core.package import ObservedPackage, plan_package
from copr_operator.core.plan import plan
from copr_operator.core.project import ObservedProject, plan_project
from tests.support import builders as b

Obj = dict[str, Any]
_SCHEMAS = {kind.kind: definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind in KINDS}


def states() -> dict[str, dict[str, Obj]]:
    """Kind -> name of the state -> object."""
    return {"CoprBuild": _builds(), "CoprProject": _projects(), "CoprChroot": _chroots(), "CoprPackage": _packages()}


# -- builds ------------------------------------------------------------------------------------------------------------


def _builds() -> dict[str, Obj]:
    source, rpm, other = b.job("src"), b.job(b.D12), b.job(b.D13)
    made, for_arm = b.job("src", state="complete"), b.SRPM_MADE.model_copy(update={"exclusive_arch": ("aarch64",)})
    waiting = BuildStatus(id=42, state="pending", submitted_at=format_time(b.T0))
    running = b.build(_imported())
    found = {
        "new": _build(b.build(adopted=False), BuildStatus()),
        "waits-for-its-project": _planned(b.build(waiting), project=None),
        "queued": _planned(b.build(b.accepted()), source, now=1),
        "starting": _planned(b.build(b.accepted()), source, b.pod(source, "Pending"), now=1),
        "makes-the-srpm": _planned(b.build(b.accepted()), source, b.pod(source, source=b.container("running"))),
        "importing": _planned(
            b.build(b.accepted()), source, b.pod(source, source=b.container(), collect=b.container("running"))
        ),
        "running": _planned(
            running, rpm, other, b.pod(rpm, build=b.container("running")), b.pod(other, "Pending"), now=1
        ),
        "succeeded": _planned(running, *_ended(b.D12), *_ended(b.D13)),
        "skipped": _planned(b.build(b.accepted()), made, b.pod(made, "Succeeded", collect=b.said(for_arm))),
        "failed-in-the-source": _planned(b.build(b.accepted()), *_failed("src", "source", "SourceFailed", "no make")),
        "failed": _planned(running, *_ended(b.D12), *_failed(b.D13, "build", "BuildFailed", "Bad exit status")),
        "failed-by-policy": _planned(
            b.build(b.accepted()), *_failed("src", "fetch", "AddressRefused", "10.0.0.1 is a private address")
        ),
        "canceled": _planned(b.build(_imported(), cancel=True)),
    }  # fmt: skip
    found["cancel-requested"] = _changed(found["running"], cancel=True)
    found["changed-after-its-end"] = _changed(found["succeeded"], results="Retain")
    found["going-away"] = _deleted(found["succeeded"])
    gone = b.build(_status(found["succeeded"]), deleting=True)
    found["going-away-without-backend"] = _deleted(_planned(gone, backend_message="the backend can't be reached"))
    return found


def _imported() -> BuildStatus:
    return b.imported().model_copy(
        update={"submitted_at": format_time(b.T0), "repo_url": "https://copr.example/results/alice/demo"}
    )


def _ended(chroot: str) -> tuple[Any, Any]:
    job = b.job(chroot, state="complete")
    pod = b.pod(job, "Succeeded", build=b.container(), collect=b.said(b.RPMS_MADE))
    return job, pod


def _failed(step: str, container: str, reason: str, message: str) -> tuple[Any, Any]:
    job, summary = b.job(step, state="failed"), b.failed_summary(reason, message, tail="error: " + message)
    if container == "fetch":
        return job, b.pod(job, "Failed", fetch=b.said(summary, code=65))
    ended: dict[str, Any] = {container: b.container(code=1), "collect": b.said(summary)}
    return job, b.pod(job, "Failed", **ended)


def _planned(of: BuildView, *jobs_and_pods: Any, **changes: Any) -> Obj:
    """The build with the status that it gets in this world."""
    jobs = [one for one in jobs_and_pods if not hasattr(one, "job_uid")]
    pods = tuple(one for one in jobs_and_pods if hasattr(one, "job_uid"))
    decision = plan(b.observed(of, *jobs, pods=pods, **changes), b.CONFIG)
    assert decision.status is not None, decision
    return _build(of, decision.status)


def _build(of: BuildView, status: BuildStatus) -> Obj:
    labels = build_labels(of) if status.id is not None else {}
    return _object("CoprBuild", of, labels, of.spec, status)


def _status(build: Obj) -> BuildStatus:
    return BuildStatus.model_validate(build["status"])


# -- projects ----------------------------------------------------------------------------------------------------------


def _projects() -> dict[str, Obj]:
    rival = ProjectView("older", "other", "a", 1, "1", datetime.fromisoformat("2025-01-01T00:00Z"),
                        b.project().spec, b.project().status)  # fmt: skip
    fresh = b.project(held=False)
    every = frozenset({b.D12, b.D13})
    found = {
        "new": _object("CoprProject", fresh, {}, fresh.spec, type(fresh.status)()),
        "waits-for-its-repositories": _project(fresh),
        "without-backend": _project(b.project(), backend_message="the backend can't be reached"),
        "ready": _project(b.project(), ensured=every),
        "name-taken": _project(fresh, rivals=(rival,)),
    }
    found["changed"] = _changed(found["ready"], description="Another one")
    found["going-away"] = _deleted(found["ready"])
    return found


def _project(of: ProjectView, **changes: Any) -> Obj:
    decision = plan_project(ObservedProject(of, b.at(1), **changes), b.CONFIG)
    assert decision.status is not None, decision
    return _object("CoprProject", of, {}, of.spec, decision.status)


# -- packages ----------------------------------------------------------------------------------------------------------


def _packages() -> dict[str, Obj]:
    source = {"type": "scm", "scm": {"cloneURL": "https://git.example/hello.git", "committish": "v2.8"}}
    spec = PackageSpec.model_validate({
        "owner": "alice", "project": "demo", "name": "hello", "source": source, "buildOnChange": True,
    })  # fmt: skip
    package = PackageView("hello", "ns", "package-uid", 1, "1", spec, DefinitionStatus())
    by_hand = replace(package, spec=spec.model_copy(update={"build_on_change": False}))
    without = replace(package, spec=spec.model_copy(update={"source": None}))

    def built(state: Any) -> Obj:
        return _package(package, wanted=replace(b.build(BuildStatus(id=42, state=state)), package_uid="package-uid"))

    found = {
        "new": _object("CoprPackage", package, {}, spec, package.status),
        "defined": _package(by_hand),
        "building": built("running"),
        "built": built("succeeded"),
        "build-failed": built("failed"),
        "build-canceled": built("canceled"),
        "without-source": _package(without),
        "refused": _package(package, refusal="exceeded quota: builds"),
        "name-taken": _package(package, rivals=(replace(package, name="another"),)),
    }
    changed = {"cloneURL": "https://git.example/hello.git", "committish": "v2.9"}
    found["changed"] = _changed(found["built"], source={"type": "scm", "scm": changed})
    return found


def _package(of: PackageView, **changes: Any) -> Obj:
    decision = plan_package(ObservedPackage(of, b.at(1), **changes), b.CONFIG)
    assert decision.status is not None, decision
    return _object("CoprPackage", of, {}, of.spec, decision.status)


# -- kinds without a status --------------------------------------------------------------------------------------------


def _chroots() -> dict[str, Obj]:
    spec = {"name": b.D12, "image": "copr-operator/chroot-debian-12:1", "arch": "x86_64"}
    return {
        "enabled": _plain("CoprChroot", "debian-12-x86-64", spec),
        "disabled": _plain("CoprChroot", "debian-12-x86-64", {**spec, "enabled": False}),
    }


# -- objects -----------------------------------------------------------------------------------------------------------


def _plain(kind: str, name: str, spec: Obj) -> Obj:
    metadata = {"name": name, "namespace": "ns", "uid": "an-uid", "generation": 1}
    return _shown(kind, {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec})


def _object(
    kind: str, of: BuildView | ProjectView | PackageView, labels: Mapping[str, str], spec: Any, status: Any
) -> Obj:
    metadata = {
        "name": of.name,
        "namespace": of.namespace,
        "uid": of.uid,
        "generation": of.generation,
        "creationTimestamp": format_time(b.T0),
        **({"labels": dict(labels)} if labels else {}),
    }
    if not isinstance(of, PackageView) and of.finalizers:
        metadata["finalizers"] = list(of.finalizers)
    parts = {
        name: model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        for name, model in (("spec", spec), ("status", status))
    }
    found = {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": parts["spec"]}
    if parts["status"]:
        found["status"] = parts["status"]
    return _shown(kind, found)


def _shown(kind: str, obj: Obj) -> Obj:
    shown: Obj = _defaulted(_SCHEMAS[kind], obj)
    return shown


def _defaulted(schema: Mapping[str, Any], value: Any) -> Any:
    """The value with the defaults that the API server fills in."""
    if isinstance(value, list):
        return [_defaulted(schema.get("items", {}), one) for one in value]
    if not isinstance(value, dict):
        return value
    known: Mapping[str, Any] = schema.get("properties", {})
    filled = {name: part["default"] for name, part in known.items() if "default" in part and name not in value}
    return {name: _defaulted(known.get(name, {}), part) for name, part in {**value, **filled}.items()}


def _changed(of: Obj, **spec: Any) -> Obj:
    """A change of the spec that the operator has not seen yet."""
    generation = of["metadata"]["generation"] + 1
    return {**of, "metadata": {**of["metadata"], "generation": generation}, "spec": {**of["spec"], **spec}}


def _deleted(of: Obj) -> Obj:
    return {**of, "metadata": {**of["metadata"], "deletionTimestamp": "2026-01-01T13:00:00Z"}}


# -- what is generated of it -------------------------------------------------------------------------------------------

ARGOCD = Path(__file__).resolve().parents[2] / "manifests/argocd"
CUSTOMIZATIONS = ARGOCD / "resource_customizations" / names.GROUP
"""Laid out as in Argo CD's own repository, which takes such directories as contributions."""


def argocd_files() -> dict[Path, str]:
    """The objects of its tests, and argocd-cm with the scripts for whoever configures them by hand."""
    found = {
        CUSTOMIZATIONS / kind / "testdata" / f"{state}.yaml": yaml.safe_dump(obj, sort_keys=False)
        for kind, objects in states().items()
        if (CUSTOMIZATIONS / kind).is_dir()
        for state, obj in objects.items()
    }
    running = states()["CoprBuild"]["running"]
    canceled = {**running, "spec": {**running["spec"], "cancel": True}}
    outputs = CUSTOMIZATIONS / "CoprBuild/actions/testdata"
    found[outputs / "running-canceled.yaml"] = yaml.safe_dump(canceled, sort_keys=False)
    return found | {ARGOCD / "argocd-cm.yaml": _HEADER + yaml.dump(_settings(), Dumper=_Literal, sort_keys=False)}


_HEADER = """\
# Generated by `make generate` from resource_customizations/; do not edit.
# Health and actions of our kinds for Argo CD: kubectl apply --server-side -f manifests/argocd/argocd-cm.yaml
"""


def _settings() -> Obj:
    data = {}
    for directory in sorted(CUSTOMIZATIONS.iterdir()):
        key = f"{names.GROUP}_{directory.name}"
        data[f"resource.customizations.health.{key}"] = (directory / "health.lua").read_text()
        if (actions := directory / "actions").is_dir():
            definitions = [
                {"name": script.parent.name, "action.lua": script.read_text()}
                for script in sorted(actions.glob("*/action.lua"))
            ]
            wanted = {"discovery.lua": (actions / "discovery.lua").read_text(), "definitions": definitions}
            data[f"resource.customizations.actions.{key}"] = yaml.dump(wanted, Dumper=_Literal, sort_keys=False)
    labels = {"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"}
    metadata = {"name": "argocd-cm", "namespace": "argocd", "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class _Literal(yaml.SafeDumper):
    """Writes scripts as blocks, so that they can be read and compared."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Literal.add_representer(str, _text)
