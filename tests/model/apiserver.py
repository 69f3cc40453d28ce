"""An API server as the controller knows it: uids, resource versions, generations, finalizers, 404, 409, selectors.

Objects are plain dicts that are never changed once they are stored; every write is kept as a Change, in order: watches
read them, and the invariants are checked on each of them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from copr_operator.core.observed import format_time
from copr_operator.kube.client import ApiError
from tests.model.loop import CLOCK

Obj = Mapping[str, Any]
Place = tuple[str, str, str]
"""Plural, namespace, name."""

_PATH = re.compile(
    r"/(?:apis/[^/]+/[^/]+|api/v1)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>status))?"
)
_CLAUSE = re.compile(r"(?P<field>[A-Za-z.]+)(?P<op>!?=)(?P<value>.*)")
SELECTABLE = {
    "status.state", "spec.owner", "spec.project", "spec.packageName", "status.source.package.name",
}  # fmt: skip
"""Of a CoprBuild's selectable fields those that the controller uses."""
FOREGROUND = "foregroundDeletion"


@dataclass(frozen=True)
class Change:
    """One write that changed something."""

    version: int
    by: str
    plural: str
    verb: str
    """create, update, status or delete (the object is gone)."""
    before: Obj | None
    after: Obj
    """When it is gone: as it was last, under the version of its end."""
    at: float
    """The clock's seconds."""

    @property
    def gone(self) -> bool:
        return self.verb == "delete"


class ApiServer:
    """All objects as they are now, and every change there ever was."""

    def __init__(self) -> None:
        self.objects: dict[Place, Obj] = {}
        self.changes: list[Change] = []
        self.watchers: list[Callable[[Change], None]] = []
        """Called with each change when it has been made."""
        self.judged = True
        """Whether every watcher has let the newest change pass; what comes after one that must not be says nothing."""
        self.version = 0
        self._uids = 0
        self.refuse_jobs = False
        """A quota on Jobs: creates are answered with 403."""
        self.refuse_builds = False
        """One on CoprBuilds, for controllers: users' are made all the same."""
        self.refuse_pods = False
        """A quota on Pods, which shows in an Event of the Job only."""

    # -- for the test ----------------------------------------------------------------------------------------------

    def all(self, plural: str) -> list[Obj]:
        return [obj for place, obj in self.objects.items() if place[0] == plural]

    def find(self, plural: str, namespace: str, name: str) -> Obj | None:
        return self.objects.get((plural, namespace, name))

    def by_uid(self, plural: str, uid: str) -> Obj | None:
        return next((obj for obj in self.all(plural) if obj["metadata"]["uid"] == uid), None)

    def create(self, by: str, plural: str, obj: Obj) -> Obj:
        meta = obj["metadata"]
        place = (plural, meta["namespace"], meta["name"])
        if place in self.objects:
            raise ApiError(409, "AlreadyExists", f"{plural} {meta['name']} already exists")
        self._uids += 1
        # The digits come first: Job names use the first ten of them.
        uid = f"{self._uids:08d}-{plural}"
        full = {
            **obj,
            "metadata": {**meta, "uid": uid, "generation": 1, "creationTimestamp": format_time(CLOCK.now)},
        }
        return self._store(by, plural, "create", None, full)

    def update(self, by: str, plural: str, before: Obj, change: Mapping[str, Any], *, verb: str = "update") -> Obj:
        """A merge patch. Changing nothing is no write; taking the last finalizer off a deleted object ends it."""
        after = _merged(before, change)
        if after == before:
            return before
        meta = after["metadata"]
        if after.get("spec") != before.get("spec"):
            after["metadata"] = meta = {**meta, "generation": meta["generation"] + 1}
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            return self._remove(by, plural, after)
        return self._store(by, plural, verb, before, after)

    def delete(self, by: str, plural: str, obj: Obj, *, hold: str | None = None) -> Obj:
        """Removes it, or marks it while finalizers, or `hold` (its dependents, the kubelet), keep it."""
        meta = obj["metadata"]
        if "deletionTimestamp" in meta:
            return obj
        finalizers = [*(meta.get("finalizers") or ()), *([hold] if hold is not None else [])]
        if not finalizers:
            return self._remove(by, plural, obj)
        marked = {**meta, "finalizers": finalizers, "deletionTimestamp": format_time(CLOCK.now),
                  "generation": meta["generation"] + 1}  # fmt: skip
        return self._store(by, plural, "update", obj, {**obj, "metadata": marked})

    def _store(self, by: str, plural: str, verb: str, before: Obj | None, after: Obj) -> Obj:
        self.version += 1
        stored = {**after, "metadata": {**after["metadata"], "resourceVersion": str(self.version)}}
        self.objects[plural, stored["metadata"]["namespace"], stored["metadata"]["name"]] = stored
        self._tell(Change(self.version, by, plural, verb, before, stored, CLOCK.seconds))
        return stored

    def _remove(self, by: str, plural: str, last: Obj) -> Obj:
        before = self.objects.pop((plural, last["metadata"]["namespace"], last["metadata"]["name"]))
        self.version += 1
        after = {**last, "metadata": {**last["metadata"], "resourceVersion": str(self.version)}}
        self._tell(Change(self.version, by, plural, "delete", before, after, CLOCK.seconds))
        return after

    def _tell(self, change: Change) -> None:
        self.changes.append(change)
        self.judged = False
        for watcher in self.watchers:
            watcher(change)
        self.judged = True

    # -- for clients -----------------------------------------------------------------------------------------------

    def request(self, by: str, method: str, path: str, params: Mapping[str, str], body: Any) -> dict[str, Any]:
        """Answers one request, or raises ApiError."""
        match = _PATH.fullmatch(path)
        assert match is not None, path
        namespace, plural, name, sub = match.group("namespace", "plural", "name", "sub")
        if method == "GET" and name is None:
            return self._list(plural, namespace, params)
        if method == "POST":
            if plural == "jobs" and self.refuse_jobs:
                raise ApiError(403, "Forbidden", "exceeded quota: count/jobs.batch")
            if plural == "coprbuilds" and self.refuse_builds:
                raise ApiError(403, "Forbidden", "exceeded quota: count/coprbuilds")
            if plural == "events":
                return dict(body)
            given = {**body, "metadata": {**body["metadata"], "namespace": namespace}}
            return dict(self.create(by, plural, given))
        obj = self.objects.get((plural, namespace, name))
        if obj is None:
            raise ApiError(404, "NotFound", f"{plural} {name} not found")
        if method == "GET":
            return dict(obj)
        if method == "DELETE":
            if body["preconditions"]["uid"] != obj["metadata"]["uid"]:
                raise ApiError(409, "Conflict", "the uid in the precondition is another")
            hold = FOREGROUND if body.get("propagationPolicy") == "Foreground" else None
            return dict(self.delete(by, plural, obj, hold=hold))
        assert method == "PATCH", method
        return dict(self._patch(by, plural, obj, body, sub))

    def _patch(self, by: str, plural: str, obj: Obj, body: dict[str, Any], sub: str | None) -> Obj:
        meta = dict(body.get("metadata") or {})
        for locked in ("resourceVersion", "uid"):
            if meta.pop(locked, obj["metadata"][locked]) != obj["metadata"][locked]:
                raise ApiError(409, "Conflict", f"the object has been modified: {locked}")
        if sub == "status":
            after = self.update(by, plural, obj, {"status": body["status"]}, verb="status")
            assert after is not obj, f"an empty write of the status of {plural}"
            return after
        added = set(meta.get("finalizers") or ()) - set(obj["metadata"].get("finalizers") or ())
        if added and "deletionTimestamp" in obj["metadata"]:
            raise ApiError(422, "Invalid", "no new finalizers can be added while the object is being deleted")
        change = {key: value for key, value in body.items() if key not in ("metadata", "status")}
        after = self.update(by, plural, obj, {**change, "metadata": meta})
        assert after is not obj, f"an empty write of {plural}"
        return after

    def _list(self, plural: str, namespace: str | None, params: Mapping[str, str]) -> dict[str, Any]:
        if plural == "events":
            return self._events(params["fieldSelector"])
        wanted = selected(plural, params)
        items = [o for o in self.all(plural) if wanted(o) and namespace in (None, o["metadata"]["namespace"])]
        return {"items": items, "metadata": {"resourceVersion": str(self.version)}}

    def _events(self, selector: str) -> dict[str, Any]:
        uid = selector.partition("involvedObject.uid=")[2].partition(",")[0]
        if not self.refuse_pods or self.by_uid("jobs", uid) is None:
            return {"items": [], "metadata": {}}
        event = {"message": "pods is forbidden: exceeded quota", "lastTimestamp": format_time(CLOCK.now)}
        return {"items": [event], "metadata": {}}


def selected(plural: str, params: Mapping[str, str]) -> Callable[[Obj], bool]:
    """What a LIST or watch with these selectors shows. Fields are those that the kind has as selectable ones."""
    clauses = [_CLAUSE.fullmatch(clause) for clause in params.get("fieldSelector", "").split(",") if clause]
    labels = [clause.partition("=")[::2] for clause in params.get("labelSelector", "").split(",") if clause]
    fields = [(c["field"].split("."), c["op"] == "=", c["value"]) for c in clauses if c and c["field"] in SELECTABLE]
    assert len(fields) == len(clauses), f"{params} asks for a field that can't be selected"
    assert not fields or plural == "coprbuilds"

    def wanted(obj: Obj) -> bool:
        held = obj["metadata"].get("labels") or {}
        if any(key not in held or (value and held[key] != value) for key, value in labels):
            return False
        return all((_field(obj, path) == value) is equal for path, equal, value in fields)

    return wanted


def _field(obj: Obj, path: list[str]) -> str:
    """Empty where there is none, as the API server has it."""
    found: Any = obj
    for name in path:
        found = (found or {}).get(name)
    return found or ""


def _merged(old: Obj, patch: Obj) -> dict[str, Any]:
    """RFC 7386."""
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, Mapping):
            before = new.get(key)
            new[key] = _merged(before if isinstance(before, Mapping) else {}, value)
        else:
            new[key] = value
    return new
