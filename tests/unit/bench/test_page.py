"""The table in docs/performance.md is put where it belongs, and nowhere else."""

import pytest

from tests.bench.page import BEGIN, END, renewed
from tests.support.installation import REPOSITORY


def test_only_what_is_between_the_marks_is_replaced() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert renewed(page, "\nnew\n\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_page_without_its_marks_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="marks"):
        renewed(page, "new")


def test_the_page_of_the_project_has_the_marks() -> None:
    assert "new" in renewed((REPOSITORY / "docs" / "performance.md").read_text(), "new")
