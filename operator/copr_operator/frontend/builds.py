"""What clients do to builds, carried out on CoprBuilds: create, cancel, delete."""

import asyncio
import hashlib
import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from copr_operator.api.sources import SourceSpec
from copr_operator.core import names
from copr_operator.core.batches import is_linked
from copr_operator.core.observed import ProjectView
from copr_operator.frontend import forks, rights
from copr_operator.frontend.build_forms import BuildOptions, checked
from copr_operator.frontend.cache import Cache
from copr_operator.frontend.errors import CoprError, build_form_error, unavailable
from copr_operator.frontend.reader import Reader, refused
from copr_operator.frontend.records import BuildRecord
from copr_operator.frontend.tokens import Account
from copr_operator.frontend.viewer import viewer_of
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""Creates that wait for their ids at the same time; others wait before, so that a burst costs time and no 503s."""


class Builds:
    def __init__(
        self, kube: KubeClient, cache: Cache, reader: Reader, *, id_timeout: float, cancel_timeout: float
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._reader = reader
        self._id_timeout = id_timeout
        self._cancel_timeout = cancel_timeout
        self._creating = asyncio.Semaphore(AT_ONCE)

    # -- create ------------------------------------------------------------------------------------------------------

    async def create(
        self,
        account: Account | None,
        project: ProjectView,
        options: BuildOptions,
        sources: Sequence[Mapping[str, Any]],
        idempotency_key: str | None = None,
    ) -> list[BuildRecord]:
        """One build for each source, all of them with their ids, or none at all.

        `account` None: nobody, a webhook. The same `idempotency_key` of the same account in the same project brings the
        same builds again; of a webhook also when the package's source is another one by now.
        """
        batch = await self.batch(account, project, options)
        base = {**options.spec, **batch, **({"submitter": account.name} if account is not None else {})}
        specs = [checked({**base, "source": source}) for source in sources]
        made: list[tuple[dict[str, Any], bool]] = []
        try:
            async with self._creating:
                for number, spec in enumerate(specs):
                    name = _name(project, account, idempotency_key, number)
                    metadata = _metadata(project, name, options)
                    made.append(await self._create(metadata, spec, shared=idempotency_key is not None))
                patience = self._patience(len(made))
                waits = (self._with_id(obj, patience) for obj, _ in made)
                return list(await asyncio.gather(*waits))
        except BaseException:
            # Also when the client has gone away: no build that nobody knows of. Shielded, or that would stop it too.
            mine = [obj["metadata"] for obj, new in made if new]
            await asyncio.shield(self._take_back(mine, shared=idempotency_key is not None))
            raise

    async def fork(self, account: Account, source: ProjectView, target: ProjectView) -> None:
        """Builds of `target` that take over the newest results of each package of `source`, and run nothing.

        Their ids are in the order of the originals' within a package: its latest build is the same one. Asked again it
        makes no second ones, and takes up a fork that was cut short. They are there to be listed when it returns,
        unless the controller is slow with their ids. Raises CoprError 403, 503.
        """
        if source.spec.private and source.namespace != target.namespace:
            return  # the store would not let them leave the namespace
        chroots = [chroot.name for chroot in target.spec.chroots]
        wanted = forks.newest(self._cache.of_project(source), source.spec.name, chroots)
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience(sum(map(len, wanted)))
        at_once = asyncio.Semaphore(AT_ONCE)

        async def take_over(builds: Sequence[forks.Wanted]) -> None:
            for record, found in builds:
                spec = forks.spec(record, self._cache.source_of(record), found, target, account.name)
                async with at_once:
                    uid = await self._create_fork(target, spec)
                if uid is not None:
                    await self._cache.wait(uid, lambda _: True, deadline - clock())

        await asyncio.gather(*map(take_over, wanted))

    async def _create_fork(self, target: ProjectView, spec: Mapping[str, Any]) -> str | None:
        """uid of the build, which a request before may have made; None when somebody deletes it meanwhile."""
        metadata = {"name": _fork_name(target, spec), "namespace": target.namespace}
        try:
            obj = await self._kube.create(paths.copr("coprbuilds", target.namespace), _manifest(metadata, spec))
        except ApiError as error:
            if not error.conflict:
                raise refused(error) from None
            found = await self._find(metadata)
            return None if found is None else str(found["metadata"]["uid"])
        return str(obj["metadata"]["uid"])

    async def _find(self, metadata: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            return await self._kube.find(paths.copr("coprbuilds", metadata["namespace"], metadata["name"]))
        except ApiError as error:
            raise refused(error) from None

    def _patience(self, builds: int) -> float:
        """Seconds that so many builds made together may take to get their ids."""
        return self._id_timeout * (1 + builds // AT_ONCE)

    async def batch(self, account: Account | None, project: ProjectView, options: BuildOptions) -> dict[str, str]:
        """`afterBuild` or `withBuild`: names of builds of the same namespace (5.6). Raises CoprError 400.

        A batch is joined by its leader's name: batches to which one build after the other is added stay flat.
        """
        batch: dict[str, str] = {}
        for field, member, build_id in (
            ("after_build_id", "afterBuild", options.after_build_id),
            ("with_build_id", "withBuild", options.with_build_id),
        ):
            if build_id is None:
                continue
            try:
                target = await self._reader.build(build_id, viewer_of(account))
            except CoprError as error:
                if error.status != 404:
                    raise
                raise build_form_error({field: [f"Build {build_id} not found"]}) from None
            if target.namespace != project.namespace:
                text = f"Build {build_id} is in another namespace than this project"
                raise build_form_error({field: [text]})
            # One that has ended may be of a batch that has not, and so long can be joined.
            if member == "withBuild" and not self._cache.batch_runs(target):
                raise build_form_error({field: [f"Build {build_id} is already finished"]})
            # Anyone may wait for a batch that is there, and whoever makes or changes one must have a right to.
            batched = is_linked(target.view)
            if member == "withBuild" or not batched:
                owner = await self._reader.project_of(target)
                if not _may(account, owner, rights.can_build):
                    raise build_form_error({field: [_no_batch_right(account, target, batched=batched)]})
            batch[member] = target.leader if member == "withBuild" else target.name
        return batch

    async def _create(
        self, metadata: dict[str, Any], spec: Mapping[str, Any], *, shared: bool
    ) -> tuple[dict[str, Any], bool]:
        """The object, and whether it is new. `shared`: another request may want the same one."""
        namespace, name = metadata["namespace"], metadata["name"]
        try:
            return await self._kube.create(paths.copr("coprbuilds", namespace), _manifest(metadata, spec)), True
        except ApiError as error:
            if error.conflict:
                held = await self._find(metadata)
                if held is not None and _same_request(held["spec"], spec):
                    return held, False
                raise CoprError(409, "This Idempotency-Key was used for another build.") from None
            if error.not_found:
                raise CoprError(404, f"Namespace {namespace} does not exist.") from None
            if error.transient and not shared:
                await asyncio.shield(self._take_back_unheard(namespace, name))
            raise refused(error) from None

    async def _with_id(self, obj: Mapping[str, Any], patience: float) -> BuildRecord:
        """The controller gives the id. Raises CoprError 503 when it doesn't in time."""
        metadata = obj["metadata"]
        record = await self._cache.wait(metadata["uid"], lambda _: True, patience)
        if record is None:
            # The watch may be what is late.
            now = await self._find(metadata)
            if now is not None and now["metadata"]["uid"] == metadata["uid"]:
                self._cache.build_event("MODIFIED", now)
                record = self._cache.by_uid(metadata["uid"])
        if record is None:
            raise unavailable("The build got no id in time: the controller is not working. It was not created.")
        return record

    async def _take_back(self, made: Sequence[Mapping[str, Any]], *, shared: bool) -> None:
        """`shared`: one that has changed since got its id, and another request has answered with it: it stays."""
        for metadata in made:
            conditions = {"uid": metadata["uid"]}
            if shared:
                conditions["resourceVersion"] = metadata["resourceVersion"]
            try:
                await self._delete(metadata, conditions)
            except ApiError as error:
                if not (shared and error.conflict):
                    logger.error("CoprBuild %s is left over: %s", metadata["name"], error)

    async def _take_back_unheard(self, namespace: str, name: str) -> None:
        """A create without an answer may have been carried out. Nobody else knows the name."""
        try:
            found = await self._kube.find(paths.copr("coprbuilds", namespace, name))
        except ApiError as error:
            logger.error("CoprBuild %s may be left over: %s", name, error)
            return
        if found is not None:
            await self._take_back([found["metadata"]], shared=False)

    # -- cancel ------------------------------------------------------------------------------------------------------

    async def cancel(self, account: Account, record: BuildRecord) -> BuildRecord:
        """The build, canceled. Raises CoprError 403, 409 when it has ended (also when it ends meanwhile)."""
        await self._require(account, record, rights.can_build, "You are not allowed to cancel this build.")
        if record.finished:
            raise _not_cancelable(record)
        change = {"metadata": {"uid": record.uid}, "spec": {"cancel": True}}
        try:
            obj = await self._kube.patch(paths.copr("coprbuilds", record.namespace, record.name), change)
        except ApiError as error:
            if error.not_found or error.conflict:
                raise CoprError(404, f"Build {record.id} does not exist.") from None
            raise refused(error) from None
        self._cache.build_event("MODIFIED", obj)
        ended = await self._cache.wait(record.uid, lambda build: build.finished, self._cancel_timeout)
        if ended is not None and ended.state != "canceled":
            raise _not_cancelable(record)
        # Not ended yet: the wish stands, and the build shows it.
        return ended or self._cache.by_uid(record.uid) or record

    # -- delete ------------------------------------------------------------------------------------------------------

    async def delete(self, account: Account, record: BuildRecord) -> None:
        """Raises CoprError 403, 400 for a build that has not ended (Copr: 500)."""
        await self._require_delete(account, record)
        if not record.finished:
            raise CoprError(400, f"User '{account.name}' can not delete build {record.id}")
        await self._delete_record(record)

    async def delete_all(self, account: Account, build_ids: Sequence[int]) -> None:
        """All of them or none. Raises CoprError 400 with up to three lines (Copr's delete_builds)."""
        found: list[BuildRecord] = []
        running: list[BuildRecord] = []
        absent: list[int] = []
        forbidden: list[int] = []
        for build_id in dict.fromkeys(build_ids):
            try:
                record = await self._reader.build(build_id, viewer_of(account))
                await self._require_delete(account, record)
            except CoprError as error:
                if error.status not in (403, 404):
                    raise
                (absent if error.status == 404 else forbidden).append(build_id)
                continue
            (found if record.finished else running).append(record)
        lines = [
            f"You don't have permissions to delete build(s) {_numbers(forbidden)}.\n" if forbidden else "",
            f"Build(s) {_numbers([record.id for record in running])} are still running.\n" if running else "",
            f"Build(s) {_numbers(absent)} don't exist.\n" if absent else "",
        ]
        if any(lines):
            raise CoprError(400, "".join(lines))
        await self.delete_records(found)

    async def delete_records(self, records: Sequence[BuildRecord]) -> None:
        """Several at a time. What is gone already is no error."""
        at_once = asyncio.Semaphore(16)

        async def delete(record: BuildRecord) -> None:
            async with at_once:
                await self._delete_record(record)

        await asyncio.gather(*(delete(record) for record in records))

    async def _delete_record(self, record: BuildRecord) -> None:
        metadata = {"uid": record.uid, "namespace": record.namespace, "name": record.name}
        try:
            await self._delete(metadata, {"uid": record.uid})
        except ApiError as error:
            raise refused(error) from None
        self._cache.build_event("DELETED", {"metadata": metadata})

    async def _delete(self, metadata: Mapping[str, Any], conditions: Mapping[str, Any]) -> None:
        path = paths.copr("coprbuilds", metadata["namespace"], metadata["name"])
        await self._kube.delete(path, {"preconditions": dict(conditions)})

    # -- rights ------------------------------------------------------------------------------------------------------

    async def _require_delete(self, account: Account, record: BuildRecord) -> None:
        text = f"User '{account.name}' doesn't have permissions to delete build {record.id}"
        project = await self._require(account, record, rights.can_edit, text)
        if project is not None and project.spec.api_settings.persistent:
            raise CoprError(403, f"User '{account.name}' can not delete a persistent build {record.id}")

    async def _require(
        self, account: Account, record: BuildRecord, right: rights.Right, text: str
    ) -> ProjectView | None:
        """The build's project."""
        project = await self._reader.project_of(record)
        if not _may(account, project, right):
            raise CoprError(403, text)
        return project


def _name(project: ProjectView, account: Account | None, key: str | None, number: int) -> str:
    """`<project>-<random>`; with a key always the same, so that two requests can't both create it."""
    stem = names.slug(project.spec.name)
    if key is None:
        return f"{stem}-{secrets.token_hex(5)}"
    text = "\0".join((project.uid, account.name if account is not None else "", key, str(number)))
    return f"{stem}-k{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:24]}"


def _metadata(project: ProjectView, name: str, options: BuildOptions) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": project.namespace}
    if options.package is not None:
        metadata["ownerReferences"] = [names.owned_by_package(*options.package)]
    return metadata


def _fork_name(target: ProjectView, spec: Mapping[str, Any]) -> str:
    """The same for the same results, so that a fork that is asked for again takes them over once."""
    text = json.dumps([target.uid, spec["forkedFrom"], spec["chroots"]], sort_keys=True)
    return f"{names.slug(target.spec.name)}-f{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _manifest(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": names.API_VERSION, "kind": "CoprBuild", "metadata": metadata, "spec": dict(spec)}


def _same_request(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Compared as models: the API server has filled in defaults. A file that was sent again has another reference.

    Of a webhook only its payload is compared: the rest is the package's, which may have been edited meanwhile.
    """
    one, other = (SourceSpec.model_validate(spec["source"]) for spec in (held, wanted))
    payloads = [source.custom.hook_payload for source in (one, other) if source.custom is not None]
    if "submitter" not in wanted:
        return len({payload.sha256 for payload in payloads if payload is not None}) < 2
    for file in (one.upload, other.upload, *payloads):
        if file is not None:
            file.ref = ""
    return one == other


def _may(account: Account | None, project: ProjectView | None, right: rights.Right) -> bool:
    """A build without a project belongs to nobody: only an administrator may touch it."""
    if account is None:
        return False
    return account.admin if project is None else right(account, project.spec)


def _not_cancelable(record: BuildRecord) -> CoprError:
    return CoprError(409, f"Cannot cancel build {record.id}")


def _no_batch_right(account: Account | None, record: BuildRecord, *, batched: bool) -> str:
    """In Copr's words (models.py, batching_user_error)."""
    project = f"{record.owner}/{record.project}"
    if batched:
        start = f"The batch of build {record.id} belongs to project {project}."
        return f"{start}  You are not allowed to build there, so you neither can edit the batch."
    user = account.name if account is not None else ""
    start = f"Build {record.id} is not yet in any batch, and user '{user}' doesn't have the build permissions"
    return f"{start} in project '{project}' to create a new one"


def _numbers(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids))
