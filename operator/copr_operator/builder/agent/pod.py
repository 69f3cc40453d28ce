"""What a trusted container finds in its pod: its plan, its paths, and where to leave its summary."""

import os
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from copr_operator.builder.agent.errors import AgentError
from copr_operator.core import names
from copr_operator.core.wire import StepPlan, StepSummary, fit_summary

PLAN_VARIABLE = "COPR_PLAN"
CA_VARIABLE = "COPR_BACKEND_CA"
SOURCE_CA_VARIABLE = "SSL_CERT_FILE"
"""Path of the bundle that sources' servers are verified with, if not the image's; OpenSSL's own variable."""
REPOSITORY = "repository"
"""Directory below /copr/in/source that holds what was cloned."""
SOURCE_CHECKSUM = "source.sha256"
"""File below /copr/in in which `fetch` tells `collect` the checksum of the source it brought."""


@dataclass(frozen=True)
class PodPaths:
    """Paths in the container; tests put them elsewhere."""

    in_dir: Path = Path(names.IN_DIR)
    out_dir: Path = Path(names.OUT_DIR)
    end_fifo: Path = Path(names.END_FIFO)
    token: Path = Path(names.TOKEN_PATH)
    private: Path = Path(names.PRIVATE_DIR)
    credentials: Path = Path(names.CREDENTIALS_DIR)
    termination_log: Path = Path("/dev/termination-log")


def read_plan() -> StepPlan:
    """The plan in the environment. A missing or broken one is the controller's fault, so infrastructure."""
    text = os.environ.get(PLAN_VARIABLE, "")
    try:
        return StepPlan.model_validate_json(text)
    except ValidationError as error:
        raise AgentError("FetchFailed", f"{PLAN_VARIABLE} is not a plan: {error}") from error


_RECENT: deque[str] = deque(maxlen=30)


def recent() -> str:
    """The last lines of the container's log, for its summary: `fetch` has no other way to show them."""
    return "\n".join(_RECENT)


def say(message: str) -> None:
    """A line in the container's log."""
    _RECENT.append(message)
    sys.stdout.write(f"[copr] {message}\n")
    sys.stdout.flush()


def write_summary(paths: PodPaths, summary: StepSummary) -> None:
    """Leaves the termination message. Best effort: the exit code says the same in fewer words."""
    try:
        paths.termination_log.write_text(fit_summary(summary))
    except OSError as error:
        say(f"the termination message could not be written: {error}")
