"""What clients do to projects, carried out on CoprProjects: create, change, delete."""

import logging
from collections.abc import Callable
from typing import Any

from copr_operator.api.common import TERMINAL
from copr_operator.api.project import ProjectSpec
from copr_operator.core import names
from copr_operator.core.observed import ProjectView
from copr_operator.core.patch import merge_patch
from copr_operator.core.views import project_view
from copr_operator.frontend import rights
from copr_operator.frontend.builds import Builds
from copr_operator.frontend.cache import Cache
from copr_operator.frontend.definitions import Definitions
from copr_operator.frontend.errors import CoprError, no_project, unavailable
from copr_operator.frontend.project_forms import dump
from copr_operator.frontend.reader import Reader, refused
from copr_operator.frontend.records import BuildRecord
from copr_operator.frontend.tokens import Account
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

logger = logging.getLogger(__name__)

_TRIES = 6


class Projects:
    def __init__(
        self,
        kube: KubeClient,
        cache: Cache,
        reader: Reader,
        builds: Builds,
        definitions: Definitions,
        namespace: str,
    ) -> None:
        self._kube = kube
        self._definitions = definitions
        self._cache = cache
        self._reader = reader
        self._builds = builds
        self._namespace = namespace

    # -- create ------------------------------------------------------------------------------------------------------

    async def create(self, spec: ProjectSpec, *, exist_ok: bool = False) -> ProjectView:
        """Raises CoprError 400 when the owner has such a project, 403 when the owner has no namespace.

        `exist_ok`: the one that the owner has is as good, also when it is made at this very moment.
        """
        namespace = self._namespace.format(owner=names.slug(spec.owner))
        if not self._reader.sees(namespace):
            raise CoprError(403, f"This frontend does not look after namespace {namespace}: ask the administrator.")
        name = _object_name(spec.owner, spec.name)
        manifest = {"apiVersion": names.API_VERSION, "kind": "CoprProject", "spec": dump(spec)}
        for _ in range(_TRIES):
            try:
                body = {**manifest, "metadata": {"name": name}}
                obj = await self._kube.create(paths.copr("coprprojects", namespace), body)
            except ApiError as error:
                if error.not_found:
                    text = f"There is no namespace {namespace} for projects of {spec.owner}: ask the administrator."
                    raise CoprError(403, text) from None
                if not error.conflict:
                    raise refused(error) from None
                held = await self._held(namespace, name)
                if held is None:
                    continue
                if "deletionTimestamp" in held["metadata"]:
                    # On its way out it keeps its object's name until its results are gone. All replicas try the same
                    # names, so only one of those who race gets one.
                    name = f"{_object_name(spec.owner, spec.name)}-{names.short_hash(held['metadata']['uid'], 8)}"
                    continue
                if not exist_ok or (held["spec"]["owner"], held["spec"]["name"]) != (spec.owner, spec.name):
                    raise name_taken(spec.owner, spec.name) from None
                obj = held
            self._cache.project_event("ADDED", obj)
            return project_view(obj)
        raise unavailable("Former projects of this name are still being removed; try again.")

    async def _held(self, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            return await self._kube.find(paths.copr("coprprojects", namespace, name))
        except ApiError as error:
            raise refused(error) from None

    # -- change ------------------------------------------------------------------------------------------------------

    async def change(self, project: ProjectView, change: Callable[[ProjectSpec], ProjectSpec]) -> ProjectView:
        """Writes what `change` makes of the project as it is now; again when somebody else was faster.

        Raises what `change` raises, and CoprError 404, 409.
        """
        path = paths.copr("coprprojects", project.namespace, project.name)
        for _ in range(_TRIES):
            try:
                obj = await self._kube.get(path)
                if obj["metadata"]["uid"] != project.uid or "deletionTimestamp" in obj["metadata"]:
                    raise no_project(project.spec.owner, project.spec.name)
                old = ProjectSpec.model_validate(obj["spec"])
                patch = merge_patch(dump(old), dump(change(old)))
                if patch:
                    version = obj["metadata"]["resourceVersion"]
                    obj = await self._kube.patch(path, {"metadata": {"resourceVersion": version}, "spec": patch})
            except ApiError as error:
                if error.not_found:
                    raise no_project(project.spec.owner, project.spec.name) from None
                if error.conflict:
                    continue
                raise refused(error) from None
            self._cache.project_event("MODIFIED", obj)
            return project_view(obj)
        raise CoprError(409, "The project is being changed by others; try again.")

    def require_chroots_idle(self, project: ProjectView, new: ProjectSpec) -> None:
        """A chroot with builds under way can't leave the project. Raises CoprError 409."""
        leaving = {chroot.name for chroot in project.spec.chroots} - {chroot.name for chroot in new.chroots}
        if not leaving:
            return
        for record in self._unfinished(project):
            busy = sorted(leaving & {name for name, _ in record.chroots})
            if busy:
                raise CoprError(
                    409, f"Can't drop chroot from project, related build {record.id} is still in progress: {busy[0]}"
                )

    # -- delete ------------------------------------------------------------------------------------------------------

    async def delete(self, account: Account, project: ProjectView) -> None:
        """With all its builds and packages, which go first: a deletion that was cut short can be asked for again.

        Raises CoprError 400 while builds run, 403.
        """
        if not rights.can_delete(account, project.spec):
            raise CoprError(403, "Only owners may delete their projects.")
        if project.spec.api_settings.persistent:
            raise CoprError(403, "This project is protected against deletion.")
        if running := await self._running(project):
            raise CoprError(400, f"Build(s) {', '.join(running[:100])} are still running.\n")
        await self._builds.delete_records(self._cache.of_project(project))
        for record in self._cache.packages_of(project):
            await self._definitions.delete(record)
        await self._remove(project)

    async def _running(self, project: ProjectView) -> list[str]:
        """Ids of its builds that have not ended (the name of one that has none yet). Of the API server: the watch may
        not have told yet of one that another replica has just made."""
        wanted = [f"spec.owner={project.spec.owner}", f"spec.project={project.spec.name}"]
        wanted += [f"status.state!={state}" for state in sorted(TERMINAL)]
        try:
            path = paths.copr("coprbuilds", project.namespace)
            found = (await self._kube.get(path, {"fieldSelector": ",".join(wanted)})).get("items") or []
        except ApiError as error:
            raise refused(error) from None
        for obj in found:
            self._cache.build_event("MODIFIED", obj)
        present = [obj for obj in found if "deletionTimestamp" not in obj["metadata"]]
        return [str((obj.get("status") or {}).get("id") or obj["metadata"]["name"]) for obj in present]

    def _unfinished(self, project: ProjectView) -> list[BuildRecord]:
        return [record for record in self._cache.of_project(project) if not record.finished]

    async def _remove(self, project: ProjectView) -> None:
        body = {"preconditions": {"uid": project.uid}}
        try:
            accepted = await self._kube.delete(paths.copr("coprprojects", project.namespace, project.name), body)
        except ApiError as error:
            raise refused(error) from None
        if accepted:
            self._cache.project_leaves(project.uid)  # the watch tells when it is gone
        else:
            self._cache.project_event("DELETED", {"metadata": {"uid": project.uid}})


def _object_name(owner: str, name: str) -> str:
    """The same for the same project, and for no other."""
    return f"{names.slug(owner)}-{names.slug(name)}-{names.short_hash(f'{owner}/{name}', 6)}"


def name_taken(owner: str, name: str) -> CoprError:
    if owner.startswith("@"):
        return CoprError(400, f"name: Group {owner[1:]} already has a project named '{name}'.")
    return CoprError(400, f"name: You already have a project named '{name}'.")
