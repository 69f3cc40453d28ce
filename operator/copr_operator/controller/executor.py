"""Carries out the actions of plans; the only writer of our kinds and Jobs, with one 404/409 policy for all of them."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from copr_operator.api.common import ApiModel
from copr_operator.controller.backend import BackendClient, BackendError
from copr_operator.controller.store import Store
from copr_operator.core import actions, manifests, names
from copr_operator.core import package as package_plan
from copr_operator.core import project as project_plan
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import (
    BuildView,
    Observed,
    PackageView,
    ProjectView,
    Refusal,
    build_view,
    controller_of,
    job_view,
    package_view,
    project_view,
)
from copr_operator.core.patch import merge_patch
from copr_operator.core.refusals import MESSAGE_LIMIT, of_job, of_name
from copr_operator.core.userns import without_ids
from copr_operator.core.wire import CopiedBuild, CopyBuildRequest, ProjectRequest, RemoveBuildRequest, TakeSrpmRequest
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

log = logging.getLogger(__name__)

View = BuildView | ProjectView | PackageView
PARALLEL_WRITES = 8


@dataclass
class _Note:
    """What the backend said of one object, and until when that counts."""

    message: str
    until: float


class StaleError(Exception):
    """Someone else changed the object since it was read: look again."""


class Executor:
    """Actions of builds and projects. What it learns on the way (refusals, answers of the backend) it remembers."""

    def __init__(self, kube: KubeClient, backend: BackendClient, store: Store, config: OperatorConfig) -> None:
        self._kube = kube
        self._backend = backend
        self._store = store
        self._config = config
        self.refusals: dict[str, dict[str, Refusal]] = {}
        """By build uid, then by the name of the Job or pod."""
        self.removed: set[str] = set()
        """uids of builds and projects that the backend has removed."""
        self.srpms: dict[str, str] = {}
        """By uid of a rerun: what the backend said of its SRPM (Observed.srpm_taken)."""
        self.copied: dict[str, CopiedBuild] = {}
        """By build uid: what the backend took over for it."""
        self.ensured: dict[str, set[str]] = {}
        """By project uid: chroots whose repository is there."""
        self.private: dict[str, bool] = {}
        """By project uid: what the backend was told last."""
        self.directories: set[tuple[str, str, str]] = set()
        """(owner, dirname, chroot) whose repository is there, for other directories than the project's own."""
        self._notes: dict[str, _Note] = {}

    def backend_message(self, uid: str) -> str:
        note = self._notes.get(uid)
        if note is None or asyncio.get_running_loop().time() >= note.until:
            return ""
        return note.message

    def forget(self, uid: str) -> None:
        self.refusals.pop(uid, None)
        self.removed.discard(uid)
        self.srpms.pop(uid, None)
        self.copied.pop(uid, None)
        self.ensured.pop(uid, None)
        self.private.pop(uid, None)
        self._notes.pop(uid, None)

    # -- builds ----------------------------------------------------------------------------------------------------

    async def run(self, observed: Observed, todo: Iterable[actions.Action]) -> None:
        """Carries out the actions of one plan, Jobs side by side. Raises the first ApiError that is not a refusal."""
        limit = asyncio.Semaphore(PARALLEL_WRITES)

        async def bounded(action: actions.Action) -> None:
            async with limit:
                await self._run(observed, action)

        results = await asyncio.gather(*(bounded(action) for action in todo), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _run(self, observed: Observed, action: actions.Action) -> None:
        build = observed.build
        match action:
            case actions.Adopt():
                labels = manifests.build_labels(build)
                await self._patch_build(build, {"labels": labels, "finalizers": [*build.finalizers, names.FINALIZER]})
            case actions.CreateJob(step, attempt):
                await self._create_job(observed, step, attempt)
            case actions.DeleteJob(name, uid):
                await self._delete_job(build, name, uid)
            case actions.ReadJobEvents(job, uid):
                await self._read_events(build, job, uid, "reason=FailedCreate")
            case actions.ReadPodEvents(pod, uid):
                await self._read_events(build, pod, uid, "type=Warning")
            case actions.EnsureDirectory():
                await self._ensure_directory(build)
            case actions.TakeSrpm():
                await self._take_srpm(observed)
            case actions.CopyResults():
                await self._copy_results(build)
            case actions.RemoveResults():
                await self._remove_results(build)
            case actions.RemoveFinalizer():
                left = [name for name in build.finalizers if name != names.FINALIZER]
                await self._patch_build(build, {"finalizers": left})

    async def _patch_build(self, build: BuildView, metadata: Mapping[str, Any]) -> None:
        obj = await self._patch("coprbuilds", build, {"metadata": metadata})
        if obj is not None:
            self._store.assume_build(build_view(obj))

    async def _patch(
        self, plural: str, view: View, body: dict[str, Any], subresource: str | None = None
    ) -> dict[str, Any] | None:
        """A merge patch under the resourceVersion that was read; None when the object is gone, and the store told so:
        it had the object from an event that came late."""
        body.setdefault("metadata", {})
        body["metadata"] = {**body["metadata"], "resourceVersion": view.resource_version, "uid": view.uid}
        path = paths.copr(plural, view.namespace, view.name, subresource)
        try:
            return await self._kube.patch(path, body, {"fieldManager": names.FIELD_MANAGER})
        except ApiError as error:
            if error.not_found:
                self._gone(view)
                return None
            if error.conflict:
                raise StaleError(f"{plural} {view.namespace}/{view.name}: {error.message}") from error
            raise

    def _gone(self, view: View) -> None:
        if isinstance(view, BuildView):
            self._store.builds.drop(view.uid, view.resource_version)
        elif isinstance(view, ProjectView):
            self._store.project_event("DELETED", view)
        else:
            self._store.package_event("DELETED", view)

    async def write_build_status(self, build: BuildView, status: ApiModel) -> BuildView | None:
        """One locked status write. None when the build is gone; StaleError when it has changed since."""
        obj = await self._patch_status("coprbuilds", build, status)
        return None if obj is None else build_view(obj)

    async def write_project_status(self, project: ProjectView, status: ApiModel) -> ProjectView | None:
        """One locked status write. None when the project is gone; StaleError when it has changed since."""
        obj = await self._patch_status("coprprojects", project, status)
        return None if obj is None else project_view(obj)

    async def write_package_status(self, package: PackageView, status: ApiModel) -> PackageView | None:
        """One locked status write. None when the package is gone; StaleError when it has changed since."""
        obj = await self._patch_status("coprpackages", package, status)
        return None if obj is None else package_view(obj)

    async def _patch_status(self, plural: str, view: View, status: ApiModel) -> dict[str, Any] | None:
        change = merge_patch(dump(view.status), dump(status))
        return await self._patch(plural, view, {"status": change}, "status")

    async def _create_job(self, observed: Observed, step: str, attempt: int) -> None:
        build = observed.build
        manifest = manifests.job(observed, step, attempt, self._config)
        name = manifest["metadata"]["name"]
        refusals = self.refusals.setdefault(build.uid, {})
        try:
            obj = await self._kube.create(
                paths.jobs(build.namespace), manifest, {"fieldManager": names.FIELD_MANAGER}
            )  # fmt: skip
        except ApiError as error:
            if error.status == 409:
                found = await self._kube.find(paths.jobs(build.namespace, name))
                if found is None:
                    raise StaleError(f"Job {name} came and went") from error
                if controller_of(found, "CoprBuild")[1] == build.uid:
                    await self._accept_job(build, found)
                    return
                refusals[name] = of_name(found, _now())
            elif (refusal := of_job(error.status, error.message, _now())) is not None:
                log.warning("the API server refused Job %s: %s", name, error.message)
                refusals[name] = refusal
            else:
                raise
            return
        refusals.pop(name, None)
        await self._accept_job(build, obj)

    async def _accept_job(self, build: BuildView, obj: dict[str, Any]) -> None:
        """A Job of the build's that is there now; one that the API server has made less safe is stopped at once."""
        job = job_view(obj)
        self._store.assume_job(job)
        if manifests.is_isolated(obj):
            return
        # No untrusted code has run: its container starts after `fetch` has ended.
        await self._delete_job(build, job.name, job.uid)
        message = "this cluster ignores hostUsers: false, so the build would have run as a user of the node"
        refusal = Refusal(422, message, _now(), "UserNamespacesUnavailable")
        self.refusals.setdefault(build.uid, {})[job.name] = refusal

    async def _delete_job(self, build: BuildView, name: str, uid: str) -> None:
        """Foreground: the Job object stays until its pods are gone, so that `collect` can show who it is."""
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        }
        await self._kube.delete(paths.jobs(build.namespace, name), body)
        found = await self._kube.find(paths.jobs(build.namespace, name))
        if found is not None and found["metadata"]["uid"] == uid:
            self._store.assume_job(job_view(found))
            return
        held = self._store.jobs.get(build.namespace, name)
        if held is not None and held.uid == uid:
            self._store.job_event("DELETED", held)

    async def _read_events(self, build: BuildView, name: str, uid: str, which: str) -> None:
        """Keeps what the newest of these Events of a Job or pod says; an empty message when there is none."""
        selector = {"fieldSelector": f"involvedObject.uid={uid},{which}", "limit": "20"}
        answer = await self._kube.get(paths.core("events", build.namespace), selector)
        events = sorted(answer.get("items") or (), key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")
        message = without_ids(str(events[-1].get("message", "")))[:MESSAGE_LIMIT] if events else ""
        self.refusals.setdefault(build.uid, {})[name] = Refusal(0, message, _now())

    async def _ensure_directory(self, build: BuildView) -> None:
        try:
            for chroot in build.status.chroots:
                await self._backend.ensure_repository(build.spec.owner, build.dirname, chroot.name)
                self.directories.add((build.spec.owner, build.dirname, chroot.name))
        except BackendError as error:
            self._note(build.uid, error)

    async def _take_srpm(self, observed: Observed) -> None:
        build, original = observed.build, observed.original
        source = original.status.source if original is not None else None
        assert build.status.id is not None and original is not None  # noqa: S101, PT018 (core.reruns has seen both)
        assert source is not None and source.srpm is not None  # noqa: S101, PT018 (the same)
        request = TakeSrpmRequest(
            owner=build.spec.owner,
            dirname=build.dirname,
            of_build=original.status.id or 0,
            name=source.srpm.url.rpartition("/")[2],
            sha256=source.srpm.sha256,
        )
        try:
            self.srpms[build.uid] = await self._backend.take_srpm(build.status.id, request)
        except BackendError as error:
            self._note(build.uid, error)

    async def _copy_results(self, build: BuildView) -> None:
        origin = build.spec.forked_from
        assert origin is not None and build.status.id is not None  # noqa: S101, PT018 (plans ask for it with both only)
        request = CopyBuildRequest(
            owner=build.spec.owner,
            dirname=build.dirname,
            namespace=build.namespace,
            chroots=tuple(chroot.name for chroot in build.status.chroots),
            from_owner=origin.owner,
            from_dirname=origin.project_dirname,
            from_id=origin.id,
        )
        try:
            self.copied[build.uid] = await self._backend.copy_build(build.status.id, request)
        except BackendError as error:
            self._note(build.uid, error)

    async def _remove_results(self, build: BuildView) -> None:
        assert build.status.id is not None  # noqa: S101 (plans ask for it with an id only)
        source = build.status.source
        request = RemoveBuildRequest(
            owner=build.spec.owner,
            dirname=build.dirname,
            chroots=tuple(chroot.name for chroot in build.status.chroots),
            package=source.package.name if source is not None and source.package is not None else None,
        )
        try:
            await self._backend.remove_build(build.status.id, request)
        except BackendError as error:
            self._note(build.uid, error)
        else:
            self.removed.add(build.uid)

    def _note(self, uid: str, error: BackendError) -> None:
        log.warning("the backend did not do what was asked: %s", error)
        until = asyncio.get_running_loop().time() + self._config.deadlines.backend_retry
        self._notes[uid] = _Note(str(error)[:400], until)

    # -- projects --------------------------------------------------------------------------------------------------

    async def run_project(self, project: ProjectView, todo: Iterable[project_plan.ProjectAction]) -> None:
        """Carries out the actions of a project's plan, one after the other."""
        spec = project.spec
        try:
            for action in todo:
                match action:
                    case project_plan.AdoptProject():
                        await self._patch_project(project, [*project.finalizers, names.FINALIZER])
                    case project_plan.ReleaseProject():
                        await self._patch_project(project, [f for f in project.finalizers if f != names.FINALIZER])
                    case project_plan.SetPrivacy(private):
                        request = ProjectRequest(private=private, namespace=project.namespace)
                        await self._backend.set_privacy(spec.owner, spec.name, request)
                        self.private[project.uid] = private
                    case project_plan.EnsureRepository(chroot):
                        await self._backend.ensure_repository(spec.owner, spec.name, chroot)
                        self.ensured.setdefault(project.uid, set()).add(chroot)
                    case project_plan.RemoveProject():
                        await self._backend.remove_project(spec.owner, spec.name)
                        self.removed.add(project.uid)
        except BackendError as error:
            self._note(project.uid, error)

    async def _patch_project(self, project: ProjectView, finalizers: list[str]) -> None:
        obj = await self._patch("coprprojects", project, {"metadata": {"finalizers": finalizers}})
        if obj is not None:
            self._store.assume_project(project_view(obj))

    # -- packages --------------------------------------------------------------------------------------------------

    async def run_package(self, package: PackageView, todo: Iterable[package_plan.PackageAction]) -> None:
        """Carries out the actions of a package's plan, one after the other."""
        builds = paths.copr("coprbuilds", package.namespace)
        for action in todo:
            match action:
                case package_plan.CreateBuild(manifest):
                    await self._create_build(package, builds, manifest)
                case package_plan.DeleteBuild(name, uid):
                    log.info("CoprBuild %s is one more than %s keeps", name, package.name)
                    await self._kube.delete(f"{builds}/{name}", {"preconditions": {"uid": uid}})

    async def _create_build(self, package: PackageView, path: str, manifest: Mapping[str, Any]) -> None:
        """One that is there already is looked at by the next plan."""
        try:
            obj = await self._kube.create(path, manifest, {"fieldManager": names.FIELD_MANAGER})
        except ApiError as error:
            if error.status in (400, 403, 404, 413, 422):
                log.warning("the API server refused CoprBuild %s: %s", manifest["metadata"]["name"], error.message)
                until = asyncio.get_running_loop().time() + self._config.deadlines.refusal_retry
                self._notes[package.uid] = _Note(error.message[:600], until)
            elif not error.conflict:
                raise
        else:
            self._store.assume_build(build_view(obj))


def dump(status: ApiModel) -> dict[str, Any]:
    """A status as it is compared and written."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _now() -> datetime:
    return datetime.now(UTC)
