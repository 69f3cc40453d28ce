"""What the cache keeps of an object: what is asked for often, ready to be sent; the rest packed. Pure.

A history of 10,000 builds must fit: a build is about 3 KB here, and ten times that as parsed objects.
"""

import json
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from copr_operator.api.package import PackageSpec
from copr_operator.core.batches import is_linked, known_links
from copr_operator.core.observed import BuildView, ProjectView
from copr_operator.core.views import build_view, project_view
from copr_operator.frontend import present


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """One CoprBuild that has its id."""

    id: int
    namespace: str
    name: str
    uid: str
    version: str
    """resourceVersion."""
    owner: str
    project: str
    dirname: str
    leader: str
    """Name of the build that its batch began with, as far as that is known."""
    state: str
    """As the API shows it."""
    finished: bool
    package: str | None
    package_version: str | None
    chroots: tuple[tuple[str, str], ...]
    """Names and states, as the API shows them."""
    json: bytes
    """The Build object, rendered."""
    packed: bytes

    @property
    def view(self) -> BuildView:
        return build_view(json.loads(zlib.decompress(self.packed)))


def build_record(obj: Mapping[str, Any], results_url: str) -> BuildRecord | None:
    """None for a build without an id. Raises pydantic.ValidationError for a spec that this version can't read."""
    if (obj.get("status") or {}).get("id") is None:
        return None
    view = build_view(obj)
    shown = present.build_json(view, results_url)
    return BuildRecord(
        id=shown["id"],
        namespace=sys.intern(view.namespace),
        name=view.name,
        uid=view.uid,
        version=view.resource_version,
        owner=sys.intern(view.spec.owner),
        project=sys.intern(view.spec.project),
        dirname=sys.intern(view.dirname),
        leader=sys.intern(known_links(view).leader) if is_linked(view) else view.name,
        state=sys.intern(shown["state"]),
        finished=present.finished(view),
        package=sys.intern(package) if (package := shown["source_package"]["name"]) else None,
        package_version=shown["source_package"]["version"],
        chroots=tuple(
            (sys.intern(chroot.name), sys.intern(present.chroot_state(view, chroot))) for chroot in view.status.chroots
        ),
        json=dump(shown),
        packed=zlib.compress(json.dumps(_essence(obj), separators=(",", ":")).encode(), 1),
    )


@dataclass(frozen=True, slots=True)
class PackageRecord:
    """One CoprPackage."""

    namespace: str
    name: str
    uid: str
    version: str
    spec: PackageSpec


def package_record(obj: Mapping[str, Any]) -> PackageRecord:
    """Raises pydantic.ValidationError for a spec that this version can't read."""
    meta = obj["metadata"]
    spec = PackageSpec.model_validate(obj["spec"])
    return PackageRecord(meta["namespace"], meta["name"], meta["uid"], meta.get("resourceVersion", ""), spec)


def project_record(obj: Mapping[str, Any]) -> ProjectView:
    """Raises pydantic.ValidationError for a spec that this version can't read."""
    return project_view(obj)


def _essence(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Without managed fields and what else nobody asks for."""
    kept = ("name", "namespace", "uid", "generation", "resourceVersion", "creationTimestamp", "finalizers")
    metadata = {name: obj["metadata"][name] for name in kept if name in obj["metadata"]}
    return {"metadata": metadata, "spec": obj["spec"], "status": obj.get("status") or {}}


def dump(value: object) -> bytes:
    """JSON as it is sent: ASCII, so that no text can't be encoded."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")
