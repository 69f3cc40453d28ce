"""Who is asking: a build pod, the controller or a user, all shown by tokens the API server vouches for.

A pod is known by its token's pod uid, and from there by controller references (Pod -> Job -> CoprBuild) with equal
uids at every link; labels prove nothing, any pod can have any label. Nothing of a token is kept but its hash.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from copr_operator.api.build import BuildSpec, BuildStatus, ChrootStatus, SourceStatus
from copr_operator.api.common import TERMINAL
from copr_operator.backend.errors import HttpError
from copr_operator.backend.kept import Kept
from copr_operator.backend.layout import MAX_PACKAGE_NAME, PACKAGE_NAME, checked
from copr_operator.core import names
from copr_operator.core.wire import Package
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError

POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
CACHE_SECONDS = 10.0


class Kube(Protocol):
    """What of the Kubernetes client is used here."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]: ...

    async def create(
        self, path: str, body: Mapping[str, Any], params: Mapping[str, str] | None = None
    ) -> dict[str, Any]: ...


@dataclass(frozen=True)
class User:
    """Who a token belongs to."""

    name: str
    uid: str
    groups: tuple[str, ...]
    extra: Mapping[str, tuple[str, ...]]

    @property
    def namespace(self) -> str | None:
        """Of a ServiceAccount."""
        parts = self.name.split(":")
        return parts[2] if len(parts) == 4 and parts[:2] == ["system", "serviceaccount"] else None


@dataclass(frozen=True)
class PodOwner:
    """The Job and CoprBuild of a pod. Can't change during the life of the pod uid."""

    namespace: str
    job_name: str
    job_uid: str
    build_name: str
    build_uid: str


@dataclass(frozen=True)
class StepIdentity:
    """The step a pod works for, and what its build's object says about it."""

    namespace: str
    build_id: int
    owner: str
    project: str
    dirname: str
    step: str
    """SOURCE_STEP or the name of the chroot."""
    attempt: int
    package: Package | None
    """Known once the source step has ended."""
    srpm_sha256: str | None
    upload_ref: str | None
    """Of a build from an uploaded file, or of one that a webhook's payload goes with."""
    pod_uid: str
    pod: PodOwner
    timeout: int
    """Seconds that the build may run."""
    cancelled: bool
    """The step must not change a repository any more; its logs are still welcome."""

    @property
    def chroot(self) -> str | None:
        return None if self.step == names.SOURCE_STEP else self.step

    @property
    def result(self) -> str:
        """Result directory below the results root. Raises HttpError 503 for a chroot before the package is known."""
        if self.chroot is None:
            return names.srpm_dir(self.owner, self.dirname, self.build_id)
        if self.package is None:
            raise HttpError(503, "the build's package is not known yet")
        return names.result_dir(self.owner, self.dirname, self.chroot, self.build_id, self.package.name)


class Identities:
    """Answers who a bearer token belongs to. Raises HttpError 401, 403, 410, or 503 when that can't be
    said now."""

    def __init__(
        self, kube: Kube, *, controller: str, audience: str = names.TOKEN_AUDIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._kube = kube
        self._controller = controller
        self._audience = audience
        self._reviews = Kept(CACHE_SECONDS, clock)
        self._steps = Kept(CACHE_SECONDS, clock)
        self._projects = Kept(CACHE_SECONDS, clock)
        self._pods = Kept(None, clock)
        self._at_once = asyncio.Semaphore(16)

    async def user(self, token: str) -> User:
        """The user of a token that was made for this backend."""
        key = hashlib.sha256(token.encode()).hexdigest()
        status = self._reviews.get(key)
        if status is None:
            spec = {"token": token, "audiences": [self._audience]}
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
            try:
                async with self._at_once:
                    status = (await self._kube.create(paths.TOKEN_REVIEWS, body)).get("status") or {}
            except ApiError as error:
                raise _unavailable("the token can't be reviewed", error) from None
            self._reviews.put(key, status)
        if not status.get("authenticated") or self._audience not in (status.get("audiences") or ()):
            raise HttpError(401, f"the token is not valid for {self._audience}")
        user = status.get("user") or {}
        extra = {key: tuple(values) for key, values in (user.get("extra") or {}).items()}
        return User(user.get("username", ""), user.get("uid", ""), tuple(user.get("groups") or ()), extra)

    async def require_controller(self, token: str) -> None:
        user = await self.user(token)
        if user.name != self._controller:
            raise HttpError(403, f"only {self._controller} may do this, not {user.name}")

    async def require(self, token: str, verb: str, namespace: str) -> None:
        """The token's user may do that with CoprBuilds in `namespace`: `create` is to build, `get` to read results."""
        user = await self.user(token)
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra.items()},
            "resourceAttributes": {
                "namespace": namespace, "verb": verb, "group": names.GROUP, "resource": "coprbuilds",
            },
        }  # fmt: skip
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        try:
            status = (await self._kube.create(paths.SUBJECT_ACCESS_REVIEWS, body)).get("status") or {}
        except ApiError as error:
            raise _unavailable("access can't be reviewed", error) from None
        if not status.get("allowed"):
            raise HttpError(403, f"{user.name} may not {verb} coprbuilds in namespace {namespace}")

    async def step(self, token: str) -> StepIdentity:
        """The step the pod of this token works for, by the CoprBuild as it was within the last CACHE_SECONDS."""
        user = await self.user(token)
        pod_name, pod_uid = (user.extra.get(key, ("",))[0] for key in (POD_NAME, POD_UID))
        if not (user.namespace and pod_name and pod_uid):
            raise HttpError(403, "the token is not one of a pod")
        found: StepIdentity | None = self._steps.get(pod_uid)
        if found is None:
            with _readable(f"the build of pod {pod_name}"):
                owner = await self._owner_of(user.namespace, pod_name, pod_uid)
                found = await self._step_of(owner, pod_uid)
        return found

    async def again(self, who: StepIdentity) -> StepIdentity:
        """The same step, by the CoprBuild as it is now; one request. Raises as `step` does."""
        with _readable(f"the build of Job {who.pod.job_name}"):
            return await self._step_of(who.pod, who.pod_uid)

    async def _owner_of(self, namespace: str, pod_name: str, pod_uid: str) -> PodOwner:
        known: PodOwner | None = self._pods.get(pod_uid)
        if known is not None:
            # Also when the Job is gone: a cancelled build's pod may still bring its logs.
            return known
        pod = await self._kube.get(paths.core("pods", namespace, pod_name))
        if pod["metadata"].get("uid") != pod_uid:
            raise HttpError(403, f"pod {pod_name} is another one than the token's")
        job_ref = _controller_of(pod, "batch/v1", "Job")
        job = await self._kube.get(paths.jobs(namespace, job_ref["name"]))
        if job["metadata"].get("uid") != job_ref["uid"]:
            raise HttpError(403, f"job {job_ref['name']} is another one than the pod's")
        build_ref = _controller_of(job, names.API_VERSION, "CoprBuild")
        owner = PodOwner(namespace, job_ref["name"], job_ref["uid"], build_ref["name"], build_ref["uid"])
        self._pods.put(pod_uid, owner)
        return owner

    async def _step_of(self, owner: PodOwner, pod_uid: str) -> StepIdentity:
        build = await self._kube.get(paths.copr("coprbuilds", owner.namespace, owner.build_name))
        metadata = build["metadata"]
        if metadata.get("uid") != owner.build_uid:
            raise HttpError(403, f"CoprBuild {owner.build_name} is another one than the job's")
        try:
            spec = BuildSpec.model_validate(build.get("spec") or {})
            status = BuildStatus.model_validate(build.get("status") or {})
        except ValidationError as error:
            raise HttpError(403, f"CoprBuild {owner.build_name} is not valid: {error.error_count()} errors") from None
        step, attempt = _step_by_name(owner, status)
        identity = make_identity(
            owner, pod_uid, spec, status, step=step, attempt=attempt, deleted="deletionTimestamp" in metadata
        )
        await self._require_project(owner.namespace, identity.owner, identity.project)
        self._steps.put(pod_uid, identity)
        return identity

    async def _require_project(self, namespace: str, owner: str, project: str) -> None:
        """The project must be held by a CoprProject of the build's own namespace: it owns the repositories."""
        held: set[tuple[str, str]] | None = self._projects.get(namespace)
        if held is None or (owner, project) not in held:
            found = await self._kube.get(paths.copr("coprprojects", namespace))
            held = {
                (item["spec"]["owner"], item["spec"]["name"]) for item in found.get("items") or () if _holds_name(item)
            }
            self._projects.put(namespace, held)
        if (owner, project) not in held:
            raise HttpError(403, f"no CoprProject of namespace {namespace} holds {owner}/{project}")


def make_identity(
    owner: PodOwner, pod_uid: str, spec: BuildSpec, status: BuildStatus, *, step: str, attempt: int, deleted: bool
) -> StepIdentity:
    """What follows from the CoprBuild. Raises HttpError 403, 410 or 503."""
    if status.id is None:
        raise HttpError(503, f"CoprBuild {owner.build_name} has no id yet")
    state = _step_status(status, step)
    if state is not None and attempt < state.attempt:
        raise HttpError(410, f"attempt {attempt} of {step} was superseded by attempt {state.attempt}")
    source = status.source
    package = None
    if source is not None and source.package is not None:
        package = Package(name=source.package.name, version=source.package.version)
        if not PACKAGE_NAME.fullmatch(package.name) or len(package.name) > MAX_PACKAGE_NAME:
            raise HttpError(403, f"{package.name!r} is not the name of a package")
    dirname = checked("dirname", spec.project_dirname or spec.project)
    if dirname != spec.project and not dirname.startswith(f"{spec.project}:"):
        raise HttpError(403, f"{dirname} is not a directory of {spec.project}")
    upload = None
    if spec.source is not None:
        upload = spec.source.custom.hook_payload if spec.source.custom is not None else spec.source.upload
    return StepIdentity(
        namespace=owner.namespace,
        build_id=status.id,
        owner=checked("owner", spec.owner),
        project=checked("project", spec.project),
        dirname=dirname,
        step=step,
        attempt=attempt,
        package=package,
        srpm_sha256=source.srpm.sha256 if source is not None and source.srpm is not None else None,
        upload_ref=upload.ref if upload is not None else None,
        pod_uid=pod_uid,
        pod=owner,
        timeout=spec.timeout,
        cancelled=spec.cancel or deleted or status.state in TERMINAL or (state is not None and state.state in TERMINAL),
    )


def _step_by_name(owner: PodOwner, status: BuildStatus) -> tuple[str, int]:
    """Step and attempt whose Job has this name. There is no other Job of a build."""
    for step in (names.SOURCE_STEP, *(chroot.name for chroot in status.chroots)):
        for attempt in range(1, names.MAX_ATTEMPTS + 1):
            if names.job_name(owner.build_uid, step, attempt) == owner.job_name:
                return step, attempt
    raise HttpError(403, f"job {owner.job_name} is none of CoprBuild {owner.build_name}'s steps")


def _step_status(status: BuildStatus, step: str) -> SourceStatus | ChrootStatus | None:
    if step == names.SOURCE_STEP:
        return status.source
    return next(chroot for chroot in status.chroots if chroot.name == step)


def _controller_of(item: Mapping[str, Any], api_version: str, kind: str) -> Mapping[str, Any]:
    """The controller reference of an object, which must be of this kind."""
    for reference in item["metadata"].get("ownerReferences") or ():
        if reference.get("controller") and (reference.get("apiVersion"), reference.get("kind")) == (api_version, kind):
            found: Mapping[str, Any] = reference
            return found
    raise HttpError(403, f"{item['metadata'].get('name')} does not belong to a {kind}")


def _holds_name(project: Mapping[str, Any]) -> bool:
    conditions = (project.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == "NameHeld" and condition.get("status") == "True" for condition in conditions)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """The API server's errors as the backend's own."""
    try:
        yield
    except ApiError as error:
        if error.not_found:
            raise HttpError(403, f"{what} is gone") from None
        raise _unavailable(f"{what} can't be read", error) from None


def _unavailable(what: str, error: ApiError) -> HttpError:
    return HttpError(503, f"{what}: {error.status} {error.reason}")
