"""Where things are in the store, and which names may become a part of a path. No I/O.

```
results/<owner>/<dirname>/<chroot>/...   what /results/ serves
state/repos/<owner>/<dirname>/<chroot>/  index-<sha256 of repomd.xml>: what the metadata of a repository holds
state/trash/<id>.json                    what is to be deleted, and when
state/unsettled/<ID8>-<chroot>.json      what was published and may yet turn out not to have succeeded
state/private/<owner>/<project>          the project is private, and in which namespace it is
state/ticket-key                         what tickets of build pods are signed with
state/highest-id                         highest build id of what was deleted
uploads/<random>/                        sources that users sent
spool/<ID8>/<step>-<attempt>/            files under way and live logs (unless the scratch directory is elsewhere)
```
"""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from copr_operator.api.common import ChrootName, Owner, ProjectName
from copr_operator.backend.errors import HttpError
from copr_operator.core import names

RESULTS = "results"
STATE = "state"
REPOS = f"{STATE}/repos"
TRASH = f"{STATE}/trash"
UNSETTLED = f"{STATE}/unsettled"
HIGHEST_ID = f"{STATE}/highest-id"
PRIVATE = f"{STATE}/private"
TICKET_KEY = f"{STATE}/ticket-key"
UPLOADS = "uploads"
REPODATA = "repodata"
SUCCESS = "success"
RESULTS_JSON = "results.json"

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^-]{0,239}")
"""Names of result files. Shorter than the 255 bytes of file systems: the store adds suffixes while it writes."""
LOG_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}\.log")
PACKAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
MAX_PACKAGE_NAME = 100
_BUILD_DIR = re.compile(r"([0-9]{8,18})(?:-(.+))?")

_Dirname = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*(:[A-Za-z0-9-]+)*$")]
_ADAPTERS: dict[str, TypeAdapter[str]] = {
    "owner": TypeAdapter(Owner),
    "project": TypeAdapter(ProjectName),
    "dirname": TypeAdapter(_Dirname),
    "chroot": TypeAdapter(ChrootName),
}


def checked(kind: str, value: str) -> str:
    """`value` when it is a valid owner, project, dirname or chroot, and so one harmless segment of a path.

    Raises HttpError 400.
    """
    try:
        return _ADAPTERS[kind].validate_python(value)
    except ValidationError:
        raise HttpError(400, f"{value[:100]!r} is not a valid {kind}") from None


@dataclass(frozen=True, order=True)
class Repo:
    """One DNF repository."""

    owner: str
    dirname: str
    chroot: str

    @classmethod
    def of(cls, owner: str, dirname: str, chroot: str) -> "Repo":
        """Raises HttpError 400 for names that can't be."""
        return cls(checked("owner", owner), checked("dirname", dirname), checked("chroot", chroot))

    @property
    def path(self) -> str:
        return names.repo_dir(self.owner, self.dirname, self.chroot)

    @property
    def results(self) -> str:
        return f"{RESULTS}/{self.path}"

    @property
    def repodata(self) -> str:
        return f"{self.results}/{REPODATA}"

    @property
    def repomd(self) -> str:
        return f"{self.repodata}/repomd.xml"

    @property
    def state(self) -> str:
        return f"{REPOS}/{self.path}"


def build_id_of(directory: str) -> int | None:
    """Build id of a result directory's name: 42 for `00000042-hello` and for `00000042`, else None."""
    match = _BUILD_DIR.fullmatch(directory)
    return int(match[1]) if match else None


def belongs_to_project(dirname: str, project: str) -> bool:
    """Whether a directory of an owner is the project's: `demo`, `demo:custom:x`, `demo:pr:1`."""
    return dirname == project or dirname.startswith(f"{project}:")


def safe_segment(segment: str) -> bool:
    """Whether a decoded segment of a request's path may be looked up in the store.

    Hidden names are the store's own (files being written); the rest can't name anything outside or be a surprise to
    another program: no control characters, no backslash.
    """
    return bool(segment) and segment[0] != "." and segment.isprintable() and "\\" not in segment and "/" not in segment
