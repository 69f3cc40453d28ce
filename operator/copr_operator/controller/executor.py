"""Carries out the actions of plans; the only writer of our kinds and Jobs, with one 404/409 policy for all of them."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from copr_operator.api.common import ApiModel
from copr_operator.controller.backend import BackendClient, BackendError
from copr_operator.controller.results import QUESTIONS, Notes, Results
from copr_operator.controller.store import Store
from copr_operator.core import actions, manifests, names
from copr_operator.core import package as package_plan
from copr_operator.core import project as project_plan
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import BuildView, Observed, PackageView, ProjectView, Refusal
from copr_operator.core.patch import merge_patch
from copr_operator.core.refusals import MESSAGE_LIMIT, is_refusal, of_job, of_name
from copr_operator.core.userns import without_ids
from copr_operator.core.views import build_view, controller_of, job_view, package_view, project_view
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

log = logging.getLogger(__name__)

View = BuildView | ProjectView | PackageView
V = TypeVar("V", BuildView, ProjectView, PackageView)
PARALLEL_WRITES = 8


class StaleError(Exception):
    """Someone else changed the object since it was read: look again."""


class Executor:
    """Actions of builds and projects. What it learns on the way (refusals, answers of the backend) it remembers."""

    def __init__(
        self,
        kube: KubeClient,
        backend: BackendClient,
        store: Store,
        config: OperatorConfig,
        *,
        questions: int = QUESTIONS,
    ) -> None:
        """`questions` to the backend are asked at the same time."""
        self._kube = kube
        self._store = store
        self._config = config
        self.refusals: dict[str, dict[str, Refusal]] = {}
        """By build uid, then by the name of the Job or pod."""
        self.missing: dict[str, set[str]] = {}
        """By build uid: names of Jobs that are not there, said the API server."""
        self._kept: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        """By uid: a status that older CRDs know only in part, as it was written and as the API server has kept it. It
        would be written again and again otherwise."""
        self._told = False
        self.results = Results(backend, config, questions)
        self.notes = Notes()
        """By package uid: what the API server said to a build of it."""

    def forget(self, uid: str) -> None:
        self.refusals.pop(uid, None)
        self.missing.pop(uid, None)
        self._kept.pop(uid, None)
        self.results.forget(uid)
        self.notes.forget(uid)

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
            case actions.FindJob(name):
                await self._find_job(build, name)
            case actions.ReadJobEvents(job, uid):
                await self._read_events(build, job, uid, "reason=FailedCreate")
            case actions.ReadPodEvents(pod, uid):
                # It has its node: what the scheduler said before is over.
                await self._read_events(build, pod, uid, "type=Warning,reason!=FailedScheduling")
            case actions.EnsureDirectory():
                await self.results.ensure_directory(build)
            case actions.TakeSrpm():
                await self.results.take_srpm(observed)
            case actions.CopyResults():
                await self.results.copy(build)
            case actions.RemoveResults():
                await self.results.remove(build)
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
            self._store.drop_build(view.uid, view.resource_version)
        elif isinstance(view, ProjectView):
            self._store.project_event("DELETED", view)
        else:
            self._store.package_event("DELETED", view)

    def is_news(self, view: View, status: ApiModel) -> bool:
        """Whether a write of this status would change something."""
        wanted, held = dump(status), dump(view.status)
        return wanted != held and self._kept.get(view.uid) != (wanted, held)

    async def write_build_status(self, build: BuildView, status: ApiModel) -> BuildView | None:
        """One locked status write. None when the build is gone; StaleError when it has changed since."""
        return await self._write_status("coprbuilds", build, status, build_view)

    async def write_project_status(self, project: ProjectView, status: ApiModel) -> ProjectView | None:
        """One locked status write. None when the project is gone; StaleError when it has changed since."""
        return await self._write_status("coprprojects", project, status, project_view)

    async def write_package_status(self, package: PackageView, status: ApiModel) -> PackageView | None:
        """One locked status write. None when the package is gone; StaleError when it has changed since."""
        return await self._write_status("coprpackages", package, status, package_view)

    async def _write_status(
        self, plural: str, view: V, status: ApiModel, read: Callable[[Mapping[str, Any]], V]
    ) -> V | None:
        wanted = dump(status)
        change = merge_patch(dump(view.status), wanted)
        obj = await self._patch(plural, view, {"status": change}, "status")
        if obj is None:
            return None
        written = read(obj)
        kept = dump(written.status)
        if kept == wanted:
            self._kept.pop(view.uid, None)
        else:
            self._kept[view.uid] = wanted, kept
            if not self._told:
                log.warning("the API server drops a part of each status: its CRDs are older than this controller")
            self._told = True
        return written

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
                refusals[name] = of_name(found, self._kube.clock.now())
            elif (refusal := of_job(error.status, error.message, self._kube.clock.now())) is not None:
                log.warning("the API server refused Job %s: %s", name, error.message)
                refusals[name] = _counted(refusal, refusals.get(name))
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
        refusal = Refusal(422, message, self._kube.clock.now(), "UserNamespacesUnavailable")
        self.refusals.setdefault(build.uid, {})[job.name] = refusal

    async def _delete_job(self, build: BuildView, name: str, uid: str) -> None:
        """Foreground: the Job object stays until its pods are gone, so that `collect` can show who it is."""
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        }
        try:
            await self._kube.delete(paths.jobs(build.namespace, name), body)
            found = await self._kube.find(paths.jobs(build.namespace, name))
        except ApiError as error:
            if not error.forbidden or not build.deleting:
                raise
            # A namespace that is deleted loses our Role before its builds, and takes its Jobs along itself.
            log.warning("Job %s can't be stopped, and its build is being deleted: %s", name, error.message)
            found = None
        if found is not None and found["metadata"]["uid"] == uid and _is_watched(found):
            self._store.assume_job(job_view(found))
            return
        held = self._store.jobs.get(build.namespace, name)
        if held is not None and held.uid == uid:
            self._store.job_event("DELETED", held)

    async def _find_job(self, build: BuildView, name: str) -> None:
        """Knows the Job afterwards, or that it is lost."""
        found = await self._kube.find(paths.jobs(build.namespace, name))
        if found is not None and controller_of(found, "CoprBuild")[1] == build.uid:
            if _is_watched(found):
                self._store.assume_job(job_view(found))
                return
            await self._delete_job(build, name, found["metadata"]["uid"])
        self.missing.setdefault(build.uid, set()).add(name)

    async def _read_events(self, build: BuildView, name: str, uid: str, which: str) -> None:
        """Keeps what the newest of these Events of a Job or pod says; an empty message when there is none."""
        selector = {"fieldSelector": f"involvedObject.uid={uid},{which}", "limit": "20"}
        answer = await self._kube.get(paths.core("events", build.namespace), selector)
        events = sorted(answer.get("items") or (), key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")
        message = without_ids(str(events[-1].get("message", "")))[:MESSAGE_LIMIT] if events else ""
        refusals = self.refusals.setdefault(build.uid, {})
        refusals[name] = _counted(Refusal(0, message, self._kube.clock.now()), refusals.get(name))

    # -- projects --------------------------------------------------------------------------------------------------

    async def run_project(self, project: ProjectView, todo: Iterable[project_plan.ProjectAction]) -> None:
        """Carries out the actions of a project's plan, one after the other."""
        try:
            for action in todo:
                match action:
                    case project_plan.AdoptProject():
                        await self._patch_project(project, [*project.finalizers, names.FINALIZER])
                    case project_plan.ReleaseProject():
                        await self._patch_project(project, [f for f in project.finalizers if f != names.FINALIZER])
                    case project_plan.SetPrivacy(private):
                        await self.results.set_privacy(project, private)
                    case project_plan.EnsureRepository(chroot):
                        await self.results.ensure_repository(project, chroot)
                    case project_plan.RemoveProject():
                        await self.results.remove_project(project)
        except BackendError as error:
            self.results.failed(project.uid, error)

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
            if is_refusal(error.status, error.message):
                log.warning("the API server refused CoprBuild %s: %s", manifest["metadata"]["name"], error.message)
                self.notes.note(package.uid, error.message[:600], self._config.deadlines.refusal_retry)
            elif not error.conflict:
                raise
        else:
            self._store.made_build(build_view(obj))


def dump(status: ApiModel) -> dict[str, Any]:
    """A status as it is compared and written."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _counted(refusal: Refusal, before: Refusal | None) -> Refusal:
    """With how often it was said in a row. The words may change: a quota's tell how much of it is used."""
    if before is None or (before.status, bool(before.message)) != (refusal.status, bool(refusal.message)):
        return refusal
    return replace(refusal, times=before.times + 1)


def _is_watched(job: Mapping[str, Any]) -> bool:
    """Whether it has the labels by which Jobs are watched and listed: its end would never be seen otherwise."""
    labels = job["metadata"].get("labels") or {}
    return labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY and names.LABEL_BUILD_UID in labels
