"""What stays listed has succeeded: each publication is remembered until its build's status has the verdict on it.

A pod's results are published before its build has succeeded, and much may come in between: the build is cancelled in
that very moment, the pod is gone before it hears the answer, no later attempt gets as far as to tell of its end. The
verdict is the controller's, who latches it once and for ever, so nothing is decided here: what was latched as
succeeded stays, what was latched as anything else is unlisted, and as long as there is no verdict nothing happens.

Each is a file in state/unsettled, written before the publication, so that no crash lets one be forgotten.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from copr_operator.api.build import BuildStatus
from copr_operator.api.common import TERMINAL
from copr_operator.backend.errors import HttpError
from copr_operator.backend.guard import BuildGuard
from copr_operator.backend.identity import Kube, StepIdentity
from copr_operator.backend.layout import RESULTS, SUCCESS, UNSETTLED, Repo
from copr_operator.backend.publisher import Publisher
from copr_operator.backend.store import Store
from copr_operator.backend.trash import Trash
from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError

logger = logging.getLogger(__name__)


class Publication(BaseModel):
    """What one chroot of a build has in its repository, or is about to have."""

    namespace: str
    name: str
    uid: str
    """Of the CoprBuild."""
    build_id: int
    chroot: str
    result: str
    """Directory below the results root."""

    @property
    def path(self) -> str:
        return f"{UNSETTLED}/{names.build_dir(self.build_id)}-{self.chroot}.json"

    @property
    def place(self) -> tuple[Repo, str]:
        """The repository, and the directory in it."""
        owner, dirname, chroot, directory = self.result.split("/")
        return Repo(owner, dirname, chroot), directory


class Settlement:
    """Publications without a verdict, in memory and in the store."""

    def __init__(self, kube: Kube, store: Store, publisher: Publisher, trash: Trash, guard: BuildGuard) -> None:
        self._kube = kube
        self._store = store
        self._publisher = publisher
        self._trash = trash
        self._guard = guard
        self._open: dict[str, Publication] = {}

    def load(self) -> None:
        """Take up what a former process left."""
        for found in self._store.list(UNSETTLED):
            path = f"{UNSETTLED}/{found.name}"
            if not found.name.endswith(".json"):
                self._store.delete(path)
                continue
            try:
                self._open[path] = Publication.model_validate_json(self._store.get(path))
            except ValidationError:
                logger.error("%s is damaged and left alone", path)

    def expect(self, who: StepIdentity) -> None:
        """A chroot's results are about to be published. The step must be `working` in the guard. Blocks."""
        publication = Publication(
            namespace=who.namespace,
            name=who.pod.build_name,
            uid=who.pod.build_uid,
            build_id=who.build_id,
            chroot=who.step,
            result=who.result,
        )
        if self._open.get(publication.path) != publication:
            self._store.put(publication.path, publication.model_dump_json().encode())
            self._open[publication.path] = publication

    async def settle(self) -> None:
        """Go by the verdicts that were latched since: one request for each build that has publications without one."""
        builds: defaultdict[tuple[str, str], list[Publication]] = defaultdict(list)
        for publication in list(self._open.values()):
            builds[publication.namespace, publication.name].append(publication)
        unwanted: list[Publication] = []
        for (namespace, name), publications in builds.items():
            try:
                build = await self._kube.get(paths.copr("coprbuilds", namespace, name))
            except ApiError as error:
                if error.transient:
                    logger.warning("publications are not settled now: %s", error)
                    break
                if not error.not_found:
                    continue
                build = {}
            for publication in publications:
                wanted = _verdict(build, publication)
                if wanted:
                    await asyncio.to_thread(self._forget, publication)
                elif wanted is not None:
                    unwanted.append(publication)
        await asyncio.gather(*(self._withdraw(publication) for publication in unwanted))

    async def _withdraw(self, publication: Publication) -> None:
        try:
            # A step that began before the verdict may be publishing just now. One that begins later is refused.
            async with self._guard.working(publication.build_id, publication.chroot):
                await self._unlist(publication)
        except HttpError:
            pass  # the build is being removed, and so unlisted
        except Exception:
            logger.exception("%s has not been unlisted; it is tried again", publication.result)
            return
        await asyncio.to_thread(self._forget, publication)

    async def _unlist(self, publication: Publication) -> None:
        repo, directory = publication.place
        # First, or a repository that is read anew from its RPMs would list it again.
        await asyncio.to_thread(self._store.delete, f"{RESULTS}/{publication.result}/{SUCCESS}")
        there = await asyncio.to_thread(self._store.stat, repo.repomd) is not None
        if there and not self._trash.holds_repo(repo):
            logger.info("%s is not listed any more: its build has not succeeded", publication.result)
            await self._publisher.publish(repo, {directory: []})

    def _forget(self, publication: Publication) -> None:
        self._store.delete(publication.path)
        self._open.pop(publication.path, None)


def _verdict(build: Mapping[str, Any], publication: Publication) -> bool | None:
    """Whether it is to stay listed; None: that is not decided yet.

    Of a build that is gone nobody will tell: it was removed here before, or its results were to be kept.
    """
    if (build.get("metadata") or {}).get("uid") != publication.uid:
        return True
    try:
        status = BuildStatus.model_validate(build.get("status") or {})
    except ValidationError:
        return None  # a newer version's; some day one of ours or its end can be read
    state = next((chroot.state for chroot in status.chroots if chroot.name == publication.chroot), None)
    if state == "succeeded":
        return True
    return False if state in TERMINAL or status.state in TERMINAL else None
