"""The results store as far as the controller can tell, and the agents in the pods: what is published, what was removed.

Who may store what follows docs/wire.md: a step of a build that is canceled, deleted, ended or removed, and an attempt
that was superseded, store nothing.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from copr_operator.api.common import TERMINAL
from copr_operator.controller.backend import BackendAwayError, BackendClient, BackendError
from copr_operator.core import names

REPO = re.compile(r"/repos/(?P<owner>[^/]+)/(?P<dirname>[^/]+)/(?P<chroot>[^/]+)")
BUILD = re.compile(r"/builds/(?P<id>\d+)/remove")
SRPM = re.compile(r"/builds/(?P<id>\d+)/srpm")
COPY = re.compile(r"/builds/(?P<id>\d+)/copy")
PRIVATE_OWNER = "bob"
"""Whose projects are private ones of another namespace."""
PROJECT = re.compile(r"/projects/(?P<owner>[^/]+)/(?P<project>[^/]+)")


class ModelBackend:
    """What agents have stored and published, and what controllers have had removed."""

    def __init__(self) -> None:
        self.away = False
        self.slow = False
        """Removals are answered with `not ready` the first time, as during the grace time."""
        self.repositories: set[tuple[str, str, str]] = set()
        self.listed: set[tuple[int, str]] = set()
        """(build id, chroot) whose packages dnf can see now."""
        self.ever_listed: set[tuple[int, str]] = set()
        self.srpms: set[int] = set()
        """Ids of builds whose SRPM is in the store."""
        self.removed: set[int] = set()
        """Ids of builds that no repository lists any more, and none ever will."""
        self.breaks = False
        """A copy ends with an error when the SRPM and the first chroot's packages are there."""
        self.copied: dict[int, frozenset[str]] = {}
        """By id of a fork: what it was last told to have, from which chroots; none of them: there is nothing."""
        self.highest = 0
        """Of the ids that anything was stored for."""
        self._asked: set[str] = set()

    # -- for agents ------------------------------------------------------------------------------------------------

    def finish(self, build: Mapping[str, Any] | None, step: str, attempt: int) -> bool:
        """`collect` has sent everything of a step: whether it was stored (and published)."""
        if build is None or "deletionTimestamp" in build["metadata"] or build["spec"].get("cancel"):
            return False
        status = build.get("status") or {}
        parts = {chroot["name"]: chroot for chroot in status.get("chroots") or ()}
        part = (status.get("source") if step == names.SOURCE_STEP else parts.get(step)) or {}
        if status["id"] in self.removed or status["state"] in TERMINAL or part.get("state") in TERMINAL:
            return False
        if attempt < part.get("attempt", 1):
            return False
        self.highest = max(self.highest, status["id"])
        if step == names.SOURCE_STEP:
            self.srpms.add(status["id"])
        else:
            self.listed.add((status["id"], step))
            self.ever_listed.add((status["id"], step))
        return True

    # -- for controllers -------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, body: Any) -> dict[str, Any]:
        if self.away:
            raise BackendAwayError("the backend can't be reached: connection refused")
        if method == "GET":
            return {"id": self.highest}
        if match := REPO.fullmatch(path):
            self.repositories.add((match["owner"], match["dirname"], match["chroot"]))
            return {"ready": True}
        if match := SRPM.fullmatch(path):
            return self._take_srpm(int(match["id"]), body["ofBuild"])
        if match := COPY.fullmatch(path):
            return self._copy(int(match["id"]), body)
        if self.slow and path not in self._asked:
            self._asked.add(path)
            return {"ready": False, "message": "the files are still there"}
        if match := BUILD.fullmatch(path):
            self.removed.add(int(match["id"]))
            self.srpms.discard(int(match["id"]))
            self.listed = {entry for entry in self.listed if entry[0] != int(match["id"])}
        else:
            match = PROJECT.fullmatch(path)
            assert match is not None, path
            self.repositories = {r for r in self.repositories if r[1].partition(":")[0] != match["project"]}
            self.listed, self.srpms = set(), set()  # there is one project
        return {"ready": True}

    def _take_srpm(self, build_id: int, of_build: int) -> dict[str, Any]:
        if build_id in self.removed:
            raise BackendError("the build has been removed")
        if not self.srpms & {build_id, of_build}:
            return {"ready": False, "reason": "SRPMNotFound", "message": "it is not in the store any more"}
        self.srpms.add(build_id)
        self.highest = max(self.highest, build_id)
        return {"ready": True}

    def _copy(self, build_id: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a former request has taken over stays the fork's own, whatever has become of the other build."""
        if build_id in self.removed:
            raise BackendError("the build has been removed")
        sources = {build_id} if body["fromOwner"] == PRIVATE_OWNER else {build_id, body["fromId"]}
        found = [c for c in body["chroots"] if any((source, c) in self.listed for source in sources)]
        if not self.srpms & sources:
            self.copied[build_id] = frozenset()
            return {}
        self.srpms.add(build_id)
        self.highest = max(self.highest, build_id)
        for chroot in found[:1] if self.breaks else found:
            self.listed.add((build_id, chroot))
            self.ever_listed.add((build_id, chroot))
        if self.breaks:
            raise BackendError("the backend answered 500: it broke")
        self.copied[build_id] = frozenset(found)
        return {
            "package": {"name": "hello", "version": "2.8-1"},
            "srpm": {"name": "hello-2.8-1.src.rpm", "sha256": "a" * 64},
            "chroots": [{"name": chroot, "packages": 3} for chroot in found],
        }


class ModelBackendClient(BackendClient):
    """The real client, with requests that wait until the test answers them."""

    def __init__(self, backend: ModelBackend, park: Any) -> None:
        super().__init__("http://backend", Path("token"))
        self._backend = backend
        self._park = park

    async def _request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        json.dumps(body)  # what can't be sent must fail here too
        text = f"backend {method} {path}"
        answer: dict[str, Any] = await self._park(text, lambda: self._backend.request(method, path, body))
        return answer
