"""What clients do to package definitions, carried out on CoprPackages."""

from typing import Any

from copr_operator.api.package import PackageSpec
from copr_operator.core import names
from copr_operator.core.observed import ProjectView
from copr_operator.core.patch import merge_patch
from copr_operator.frontend.cache import Cache
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.forks import source_for
from copr_operator.frontend.reader import refused
from copr_operator.frontend.records import PackageRecord, package_record
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

ATTEMPTS = 5
"""Of a write that the controller's own keep coming before."""


class Definitions:
    def __init__(self, kube: KubeClient, cache: Cache) -> None:
        self._kube = kube
        self._cache = cache

    async def create(self, project: ProjectView, spec: PackageSpec) -> None:
        """Raises CoprError 409 when the package is defined already; that definition is known then."""
        manifest = _manifest(spec, {"name": object_name(project, spec.name)})
        try:
            obj = await self._kube.create(paths.copr("coprpackages", project.namespace), manifest)
        except ApiError as error:
            if error.conflict:
                await self._read(paths.copr("coprpackages", project.namespace, object_name(project, spec.name)))
                raise exists(project, spec.name) from None
            raise refused(error) from None
        self._cache.package_event("ADDED", obj)

    async def change(self, record: PackageRecord, spec: PackageSpec) -> None:
        """Writes what differs, so that all else stays: metadata, and what only a newer version knows of the spec.

        Raises CoprError 409 when somebody else has changed the definition since it was read; what it is now is known
        then.
        """
        patch = merge_patch(_dump(record.spec), _dump(spec))
        if not patch:
            return
        path, version = paths.copr("coprpackages", record.namespace, record.name), record.version
        for _ in range(ATTEMPTS):
            body = {"metadata": {"resourceVersion": version, "uid": record.uid}, "spec": patch}
            try:
                obj = await self._kube.patch(path, body)
            except ApiError as error:
                if not (error.conflict or error.not_found):
                    raise refused(error) from None
            else:
                self._cache.package_event("MODIFIED", obj)
                return
            # The controller may have written the status meanwhile: that is no other definition.
            held = await self._read(path)
            if held is None or (held.uid, held.spec) != (record.uid, record.spec):
                break
            version = held.version
        raise CoprError(409, "The package is being changed by others; try again.")

    async def _read(self, path: str) -> PackageRecord | None:
        try:
            obj = await self._kube.find(path)
        except ApiError as error:
            raise refused(error) from None
        if obj is None:
            return None
        self._cache.package_event("MODIFIED", obj)
        return package_record(obj)

    async def delete(self, record: PackageRecord) -> None:
        """What is gone already is no error."""
        path = paths.copr("coprpackages", record.namespace, record.name)
        try:
            await self._kube.delete(path, {"preconditions": {"uid": record.uid}})
        except ApiError as error:
            raise refused(error) from None
        self._cache.package_event("DELETED", {"metadata": {"uid": record.uid}})

    async def copy(self, source: ProjectView, target: ProjectView) -> None:
        """Definitions that the target does not have yet. None is built by that, nor by webhooks (as in Copr)."""
        known = {record.spec.name for record in self._cache.packages_of(target)}
        for record in self._cache.packages_of(source):
            if record.spec.name not in known:
                update: dict[str, Any] = {"owner": target.spec.owner, "project": target.spec.name}
                update |= {"build_on_change": False, "auto_rebuild": False}
                if record.spec.source is not None:
                    update["source"] = source_for(target.spec.owner, source.spec.owner, record.spec.source)
                try:
                    await self.create(target, record.spec.model_copy(update=update))
                except CoprError as error:
                    if error.status != 409:  # it has it, from another replica
                        raise


def object_name(project: ProjectView, package: str) -> str:
    """Of the CoprPackage: the same for the same package, so that no two replicas define it twice."""
    stem = names.short_hash(f"{project.spec.owner}/{project.spec.name}/{package}", 8)
    return f"{names.slug(project.spec.name)}-{names.slug(package.lower())}-{stem}"


def exists(project: ProjectView, name: str) -> CoprError:
    return CoprError(409, f"Package {name[:100]} already exists in copr {project.spec.owner}/{project.spec.name}.")


def _manifest(spec: PackageSpec, metadata: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": names.API_VERSION, "kind": "CoprPackage", "metadata": metadata, "spec": _dump(spec)}


def _dump(spec: PackageSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True)
