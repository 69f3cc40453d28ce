"""The pages say what the code says."""

import re
from pathlib import Path

import pytest

from tests.support.reference import REPOSITORY, pages, renewed

RELEASED = re.compile(r"helm (?:install|upgrade|rollback|history|test|uninstall) copr-operator[^`#\n]*")
HELM_PAGES = ("README.md", "docs/install.md", "helm/copr-operator/README.md")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_generated_parts_of_a_page_are_what_make_generate_writes(page: Path) -> None:
    assert page.read_text() == renewed(page.read_text())


@pytest.mark.parametrize("page", HELM_PAGES)
def test_every_helm_command_names_the_namespace_and_an_install_waits(page: str) -> None:
    """helm looks for a release in one namespace only. Without --wait it runs the chroots' hook before their kind is
    there."""
    commands = RELEASED.findall((REPOSITORY / page).read_text())
    assert commands
    assert [command for command in commands if "-n copr-operator" not in command] == []
    installs = [command for command in commands if command.startswith("helm install")]
    assert [command for command in installs if "--wait" not in command] == []
