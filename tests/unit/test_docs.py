"""The pages say what the code says."""

from pathlib import Path

import pytest

from tests.support.reference import pages, renewed


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_generated_parts_of_a_page_are_what_make_generate_writes(page: Path) -> None:
    assert page.read_text() == renewed(page.read_text())
