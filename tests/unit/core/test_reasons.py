"""Every reason that any part of the product gives is in the tables that docs/failures.md is made from."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import copr_operator
from copr_operator.core.reasons import FAILURES, PACKAGES, PROJECTS, STALLED_PACKAGES, WAITS
from copr_operator.core.wire import WRAPPER_REASONS

ROOT = Path(copr_operator.__file__).parent
SPEAKING = [
    *(ROOT / "core" / name for name in (
        "outcome.py", "steps.py", "gates.py", "selection.py", "plan.py", "stepplan.py", "wire.py", "status.py",
        "package.py", "forks.py", "reruns.py", "refusals.py", "userns.py", "circles.py", "project.py", "decision.py",
        "ends.py", "dropped.py", "kept.py")),
    ROOT / "controller" / "executor.py",
    *sorted((ROOT / "builder" / "agent").glob("*.py")),
    *sorted((ROOT / "backend").glob("*.py")),
]  # fmt: skip
"""Where reasons are given."""
CAMEL = re.compile(r"[A-Z][a-z]+(?:[A-Z][A-Za-z]*)+")
OF_OTHERS = frozenset({
    # what Kubernetes says
    "DisruptionTarget", "PodFailurePolicy", "DeadlineExceeded", "StartError", "ContainerCannotRun", "ErrImagePull",
    "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError",
    "RunContainerError", "FailedCreate", "DeleteOptions", "TokenReview", "SubjectAccessReview",
    # what object storage says, and names of types
    "QuotaExceeded", "ObjectStore", "UpdateVersion",
    "ValidatingAdmissionPolicy",
    # options of ssh
    "BatchMode", "ForwardAgent", "GlobalKnownHostsFile", "IdentitiesOnly", "IdentityAgent", "IdentityFile",
    "PermitLocalCommand", "ProxyCommand", "StrictHostKeyChecking", "UserKnownHostsFile",
    # kinds and conditions of our own
    "CoprBuild", "CoprProject", "CoprChroot", "CoprPackage", "NameHeld",
})  # fmt: skip
"""Words of the same form that are no reasons of ours. A new one must be put here, or into the tables."""


def words(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CAMEL.fullmatch(node.value):
            yield node.value


@pytest.mark.parametrize("file", SPEAKING, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_reason_that_code_gives_is_in_the_tables(file: Path) -> None:
    known = FAILURES.keys() | WAITS.keys() | PACKAGES.keys() | PROJECTS.keys() | OF_OTHERS
    unknown = set(words(file)) - known
    assert not unknown, f"neither in core/reasons.py nor known as no reason: {sorted(unknown)}"


def test_each_exit_code_of_the_scripts_has_a_failure_in_the_table() -> None:
    assert set(WRAPPER_REASONS.values()) <= FAILURES.keys()


def test_each_reason_in_the_tables_is_given_somewhere() -> None:
    code = "\n".join(file.read_text() for file in ROOT.rglob("*.py") if file.name != "reasons.py")
    unused = [name for name in (*FAILURES, *WAITS, *PACKAGES, *PROJECTS) if f'"{name}"' not in code]
    assert not unused


def test_a_package_can_be_stalled_by_its_own_reasons_only() -> None:
    assert PACKAGES.keys() > STALLED_PACKAGES
