"""The controller's command line refuses settings for sources that mean nothing, before it does anything."""

import pytest
from click.testing import CliRunner

from copr_operator.cli import main

NEEDED = ["controller", "--namespace", "x", "--operator-image", "x", "--source-image", "x", "--backend-url", "http://x"]


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        (["--source-deny", "git.internal"], {}, "host names can't be denied"),
        ([], {"COPR_CONTROLLER_SOURCE_ALLOW": "10.0.0.0/8 10.0.0/8"}, "'10.0.0/8' is neither"),
        ([], {"COPR_CONTROLLER_DIST_GITS": '[{"name": "own"}]'}, "a dist-git lacks cloneURL, lookasideURL"),
        (["--dist-gits", "own"], {}, "Expecting value"),
    ],
)
def test_a_setting_that_means_nothing_ends_it_with_words(
    options: list[str], environment: dict[str, str], words: str
) -> None:
    ended = CliRunner().invoke(main, [*NEEDED, *options], env=environment)
    assert ended.exit_code == 2
    assert words in ended.output
