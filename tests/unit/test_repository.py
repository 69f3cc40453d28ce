"""What must be true of the tree itself."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_source_root_is_no_package_or_it_would_shadow_the_standard_library() -> None:
    assert (REPOSITORY / "operator" / "copr_operator" / "__init__.py").exists()
    assert not (REPOSITORY / "operator" / "__init__.py").exists()


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for path in (REPOSITORY / "operator").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}
