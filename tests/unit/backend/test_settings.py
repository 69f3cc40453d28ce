"""Settings from the environment and the command line."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from copr_operator.backend.settings import BackendSettings


def test_the_command_line_wins_over_the_environment_and_the_environment_over_defaults() -> None:
    environment = {
        "COPR_BACKEND_ROOT": "/data",
        "COPR_BACKEND_PORT": "9000",
        "COPR_BACKEND_WORKERS": "3",
        "PATH": "/bin",
    }
    settings = BackendSettings.from_environment(environment, port=9001, host=None)
    assert (settings.root, settings.port, settings.workers, settings.removal_grace) == (Path("/data"), 9001, 3, 600)
    assert settings.spool == Path("/data/spool")


def test_variables_of_others_with_the_same_prefix_are_let_be() -> None:
    environment = {"COPR_BACKEND_ROOT": "/data", "COPR_BACKEND_CA": "/ca.crt", "COPR_BACKEND_SCRATCH": ""}
    assert BackendSettings.from_environment(environment).scratch is None


@pytest.mark.parametrize("given", [{}, {"root": "/x", "port": 70000}, {"root": "/x", "workers": 0}])
def test_wrong_settings_are_named(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BackendSettings.from_environment({}, **given)
