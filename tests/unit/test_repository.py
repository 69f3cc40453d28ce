"""What must be true of the tree itself."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_source_root_is_no_package_or_it_would_shadow_the_standard_library() -> None:
    assert (REPOSITORY / "operator" / "copr_operator" / "__init__.py").exists()
    assert not (REPOSITORY / "operator" / "__init__.py").exists()


def test_the_operator_image_has_no_other_versions_than_the_tests() -> None:
    everything = pinned(REPOSITORY / "requirements.lock")
    image = pinned(REPOSITORY / "images/operator/requirements.lock")
    assert image.items() <= everything.items()
    assert "kopf" in image
    assert "pytest" not in image


def test_the_operator_image_has_none_of_the_packages_that_only_kubeconfigs_with_programs_need() -> None:
    image = pinned(REPOSITORY / "images/operator/requirements.lock")
    assert excluded() == {"kubernetes"}
    assert excluded() <= pinned(REPOSITORY / "requirements.lock").keys()
    assert image.keys() & {*excluded(), "requests", "oauthlib"} == set()


def excluded() -> set[str]:
    lines = (REPOSITORY / "images/operator/excludes.txt").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def pinned(lock: Path) -> dict[str, str]:
    """Version of each package of a lock file."""
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[.*?\])?==(\S+)", lock.read_text(), re.MULTILINE))


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for path in (REPOSITORY / "operator").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}
