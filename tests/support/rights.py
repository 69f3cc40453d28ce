"""Rights that roles give, and requests that the API server's audit log shows: which right let which request pass."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Right(NamedTuple):
    """One thing that a role allows."""

    place: str
    """Namespace; empty: everywhere, and what has no namespace."""
    group: str
    resource: str
    """With its subresource: `coprbuilds/status`."""
    verb: str
    name: str = ""
    """Of the only object; empty: any."""


class Request(NamedTuple):
    """One request about a resource."""

    user: str
    place: str
    group: str
    resource: str
    verb: str
    name: str
    status: int


def rights_of(objects: Iterable[Mapping[str, Any]], account: str) -> frozenset[Right]:
    """What the roles among `objects` give to the ServiceAccount of that name, by the bindings among them."""
    listed = list(objects)
    roles = {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in listed}
    found: set[Right] = set()
    for binding in listed:
        if not binding["kind"].endswith("RoleBinding"):
            continue
        if account not in [subject["name"] for subject in binding["subjects"]]:
            continue
        place = binding["metadata"].get("namespace", "")
        kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
        found |= set(_rights(roles[kind, place if kind == "Role" else "", name]["rules"], place))
    return frozenset(found)


def _rights(rules: Iterable[Mapping[str, Any]], place: str) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Right(place, group, resource, verb, name)


def allows(right: Right, request: Request) -> bool:
    """As RBAC decides it. No rule of ours has a `*`."""
    return (
        right.place in ("", request.place)
        and (right.group, right.resource, right.verb) == (request.group, request.resource, request.verb)
        and right.name in ("", request.name)
    )


def requests(audit_log: Path, start: int, user_prefix: str) -> list[Request]:
    """What users with that prefix asked for since the log had `start` bytes. A watch is there once it has begun."""
    found = []
    with audit_log.open("rb") as log:
        log.seek(start)
        for line in log:
            event = json.loads(line)
            user, about = event["user"]["username"], event.get("objectRef")
            if not user.startswith(user_prefix) or about is None:
                continue
            resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
            place, name = about.get("namespace", ""), about.get("name", "")
            status = (event.get("responseStatus") or {}).get("code", 0)
            found.append(Request(user, place, about.get("apiGroup", ""), resource, event["verb"], name, status))
    return found
