"""Kubernetes objects as the records that plans look at."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from copr_operator.api.build import BuildSpec, BuildStatus
from copr_operator.api.chroot import ChrootSpec
from copr_operator.api.package import DefinitionStatus, PackageSpec
from copr_operator.api.project import ProjectSpec, ProjectStatus
from copr_operator.core.observed import (
    BuildView,
    ChrootView,
    ContainerView,
    JobState,
    JobView,
    PackageView,
    PodView,
    ProjectView,
    parse_time,
)

V = TypeVar("V")
M = TypeVar("M", bound=BaseModel)

CLOCKS_AGREE = timedelta(seconds=30)
"""Clocks that differ by less than this count as right."""


def _created(meta: Mapping[str, Any]) -> datetime:
    return parse_time(meta.get("creationTimestamp")) or datetime.fromtimestamp(0, UTC)


def controller_of(obj: Mapping[str, Any], kind: str) -> tuple[str, str]:
    """Name and uid of the object's controlling owner of that kind, or empty strings."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == kind:
            return str(owner["name"]), str(owner["uid"])
    return "", ""


def _conditions(obj: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or () if c.get("status") == "True"}


def problems(error: ValidationError) -> str:
    """What of an object can't be read, and why, in a line."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])


def try_view(read: Callable[[Mapping[str, Any]], V], obj: Mapping[str, Any]) -> V | str:
    """The view, or why the object can't be read."""
    try:
        return read(obj)
    except ValidationError as error:
        return problems(error)


def build_view(obj: Mapping[str, Any]) -> BuildView:
    """What only a newer version knows is left out and named: the build must be told what it waits for, and be deleted.
    Raises pydantic.ValidationError for what can't be a build of any version."""
    meta = obj["metadata"]
    spec, unread = _read_known(BuildSpec, obj["spec"], _SPEC_INDISPENSABLE)
    status, unread_status = _read_known(BuildStatus, obj.get("status") or {}, _STATUS_INDISPENSABLE)
    return BuildView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        resource_version=meta.get("resourceVersion", ""),
        created=_created(meta),
        spec=spec,
        status=status,
        deleting="deletionTimestamp" in meta,
        deleted_at=parse_time(meta.get("deletionTimestamp")),
        finalizers=tuple(meta.get("finalizers") or ()),
        package_uid=controller_of(obj, "CoprPackage")[1],
        unread=unread,
        unread_status=unread_status,
    )


_SPEC_INDISPENSABLE = frozenset({"owner", "project", "projectDirname", "cancel", "results"})
_STATUS_INDISPENSABLE = frozenset({"id"})
"""Without these a build could be neither canceled nor deleted."""


def _read_known(model: type[M], value: Mapping[str, Any], indispensable: Set[str]) -> tuple[M, str]:
    """The model, and what was left out of it because only a newer version knows it: its CRDs have admitted it."""
    try:
        return model.model_validate(value), ""
    except ValidationError as error:
        unknown = {str(e["loc"][0]) for e in error.errors() if e["loc"]}
        if not unknown or unknown & indispensable:
            raise
        known = {name: part for name, part in value.items() if name not in unknown}
        return model.model_validate(known), problems(error)


def project_view(obj: Mapping[str, Any]) -> ProjectView:
    """Raises pydantic.ValidationError for a spec that this version's schema would not have admitted."""
    meta = obj["metadata"]
    return ProjectView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        resource_version=meta.get("resourceVersion", ""),
        created=_created(meta),
        spec=ProjectSpec.model_validate(obj["spec"]),
        status=ProjectStatus.model_validate(obj.get("status") or {}),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
    )


def package_view(obj: Mapping[str, Any]) -> PackageView:
    """Raises pydantic.ValidationError for a spec that this version's schema would not have admitted."""
    meta = obj["metadata"]
    return PackageView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        resource_version=meta.get("resourceVersion", ""),
        spec=PackageSpec.model_validate(obj["spec"]),
        status=DefinitionStatus.model_validate(obj.get("status") or {}),
        deleting="deletionTimestamp" in meta,
    )


def chroot_view(obj: Mapping[str, Any]) -> ChrootView:
    """Raises pydantic.ValidationError for a spec that this version's schema would not have admitted."""
    meta = obj["metadata"]
    return ChrootView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        resource_version=meta.get("resourceVersion", ""),
        created=_created(meta),
        spec=ChrootSpec.model_validate(obj["spec"]),
    )


def job_view(obj: Mapping[str, Any]) -> JobView:
    """Which step and attempt it is follows from its name alone: labels and annotations can be forged."""
    meta = obj["metadata"]
    conditions = _conditions(obj)
    ended = conditions.get("Complete") or conditions.get("Failed")
    finished = parse_time((ended or {}).get("lastTransitionTime"))
    state: JobState = "complete" if "Complete" in conditions else "failed" if "Failed" in conditions else "active"
    return JobView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        owner=controller_of(obj, "CoprBuild"),
        created=_created(meta),
        resource_version=meta.get("resourceVersion", ""),
        state=state,
        reason=(ended or {}).get("reason", ""),
        message=(ended or {}).get("message", ""),
        finished=finished and finished + _clock_off([finished], meta, _BY_THE_JOB_CONTROLLER),
        deleting="deletionTimestamp" in meta,
        suspended=bool((obj.get("spec") or {}).get("suspend")),
    )


def pod_view(obj: Mapping[str, Any]) -> PodView:
    meta, status = obj["metadata"], obj.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    scheduling = conditions.get("PodScheduled") or {}
    scheduled = scheduling.get("status") == "True"
    containers = {
        c["name"]: _container(c)
        for c in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    }
    return PodView(
        name=meta["name"],
        uid=meta["uid"],
        namespace=meta["namespace"],
        job_uid=controller_of(obj, "Job")[1],
        created=_created(meta),
        resource_version=meta.get("resourceVersion", ""),
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        scheduled=scheduled,
        # Dated by the API server when it binds the pod, and kept by the kubelet: no clock of a node is in it.
        scheduled_at=parse_time(scheduling.get("lastTransitionTime")) if scheduled else None,
        scheduling_message=scheduling.get("message", ""),
        node=(obj.get("spec") or {}).get("nodeName", ""),
        sandboxed=(conditions.get("PodReadyToStartContainers") or {}).get("status") == "True",
        disrupted=(conditions.get("DisruptionTarget") or {}).get("status") == "True",
        deleting="deletionTimestamp" in meta,
        gone_by=parse_time(meta.get("deletionTimestamp")),
        containers=_by_one_clock(containers, meta),
    )


def _clock_off(times: Sequence[datetime], meta: Mapping[str, Any], parts: frozenset[str]) -> timedelta:
    """How far the clock that set these times is behind the API server's, whose deadlines they are held against.

    managedFields say when the `parts` of the status were last written. What is newer than that was dated by a clock
    that is ahead; what is from before the object was made, by one that is behind. Otherwise nothing is sure: a status
    may be written long after the newest time in it.
    """
    written = [
        str(entry["time"])
        for entry in meta.get("managedFields") or ()
        if entry.get("time") and parts & ((entry.get("fieldsV1") or {}).get("f:status") or {}).keys()
    ]
    reported = parse_time(max(written, default=None))
    if reported is None or not times:
        return timedelta(0)
    off = reported - max(times)
    behind = min(times) < _created(meta) - CLOCKS_AGREE
    return off if behind or off < -CLOCKS_AGREE else timedelta(0)


_BY_THE_NODE = frozenset({"f:containerStatuses", "f:initContainerStatuses"})
_BY_THE_JOB_CONTROLLER = frozenset({"f:conditions"})


def _by_one_clock(containers: Mapping[str, ContainerView], meta: Mapping[str, Any]) -> Mapping[str, ContainerView]:
    """With times of the node's clock told by the API server's."""
    times = [time for c in containers.values() for time in (c.started, c.finished) if time is not None]
    off = _clock_off(times, meta, _BY_THE_NODE)
    return {name: _shifted(container, off) for name, container in containers.items()} if off else containers


def _shifted(container: ContainerView, off: timedelta) -> ContainerView:
    started, finished = container.started, container.finished
    return replace(container, started=started and started + off, finished=finished and finished + off)


def _container(status: Mapping[str, Any]) -> ContainerView:
    state = status.get("state") or {}
    if (ended := state.get("terminated")) is not None:
        return ContainerView(
            state="terminated",
            reason=ended.get("reason", ""),
            message=ended.get("message", ""),
            exit_code=ended.get("exitCode"),
            started=parse_time(ended.get("startedAt")),
            finished=parse_time(ended.get("finishedAt")),
        )
    if (running := state.get("running")) is not None:
        return ContainerView(state="running", started=parse_time(running.get("startedAt")))
    waiting = state.get("waiting") or {}
    return ContainerView(reason=waiting.get("reason", ""), message=waiting.get("message", ""))
