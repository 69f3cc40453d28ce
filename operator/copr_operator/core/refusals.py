"""What it means that a Job could not be made: whether it will pass, and its reason. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from copr_operator.core.observed import Refusal
from copr_operator.core.views import controller_of

_ADMISSION = ("ValidatingAdmissionPolicy", "admission webhook")
"""In messages of policies and webhooks: they may deny with any status, and allow what they denied when they change."""
MESSAGE_LIMIT = 600


def of_job(status: int, message: str, at: datetime) -> Refusal | None:
    """The API server's answer to a create that is no conflict; None when it is no refusal.

    403 is quota, admission or our own rights, and 404 a namespace that goes away: they wait. What the schema or the
    server itself refuses can't become right.
    """
    if not is_refusal(status, message):
        return None
    waits = status in (403, 404) or status >= 500 or any(words in message for words in _ADMISSION)
    return Refusal(status, message[:MESSAGE_LIMIT], at, waits="Held" if waits else "")


def is_refusal(status: int, message: str) -> bool:
    """Whether the object was refused, and not the request only: that would be sent again without a word to anybody.

    A webhook that can't be called refuses too, by an error of the server's: it may be down for as long as it likes.
    """
    return status in (400, 403, 404, 413, 422) or (status >= 500 and "webhook" in message)


def of_name(job: Mapping[str, Any], at: datetime) -> Refusal:
    """A Job that is not ours has the name. One of a build that was deleted, or one on its way out, is waited out."""
    where = f"Job {job['metadata']['namespace']}/{job['metadata']['name']}"
    of_build, uid = controller_of(job, "CoprBuild")
    if of_build:
        return Refusal(409, f"{where} of a former build {of_build} ({uid}) is there", at, waits="WaitingForPreviousJob")
    if "deletionTimestamp" in job["metadata"]:
        return Refusal(409, f"{where} is still going away", at, waits="WaitingForPreviousJob")
    return Refusal(409, f"{where} exists and belongs to something else", at)
