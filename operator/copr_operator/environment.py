"""Settings of a process from its environment, one way for all processes that have many."""

import os
from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict


class EnvironmentSettings(BaseModel):
    """Every field can be given as `<PREFIX><FIELD>`; a subclass says what the prefix is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: ClassVar[str]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **given: object) -> Self:
        """Settings from the variables; `given` values (of the command line) that are not None win.

        Raises pydantic.ValidationError, which names the field that is missing or wrong.
        """
        values: dict[str, object] = {}
        for key, value in (os.environ if environment is None else environment).items():
            name = key.removeprefix(cls.prefix).lower()
            if key.startswith(cls.prefix) and name in cls.model_fields and value != "":
                values[name] = value
        return cls.model_validate(values | {key: value for key, value in given.items() if value is not None})
