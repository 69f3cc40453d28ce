"""Reading the fields of a request as leniently as Copr's forms do (contract 1.4). Pure.

Nulls are fields that were not given. Numbers may come as strings, lists as strings of words and strings as lists of
one; a boolean's false values are false, "false" and "" (Copr's FALSE_VALUES, which 0 equals: anything else, "0" and
"False" included, is true).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from copr_operator.frontend.errors import CoprError, Problems, build_form_error

NOT_A_CHOICE = "Not a valid choice."
REQUIRED = "This field is required."
_FALSE = (False, "false", "")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Fields:
    """One request's fields. What is wrong with them is collected, and raised together by `check`."""

    def __init__(self, values: Mapping[str, Any], error: Callable[[Problems], CoprError] = build_form_error) -> None:
        self._values = {name: value for name, value in values.items() if value is not None}
        self._error = error
        self._problems: dict[str, list[str]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def rename(self, **new_names: str) -> "Fields":
        """`rename(repos="additional_repos")`: an older name of a field, used when the newer one is not given."""
        for old, new in new_names.items():
            if old in self._values:
                self._values.setdefault(new, self._values.pop(old))
        return self

    def problem(self, name: str, text: str) -> None:
        self._problems.setdefault(name, []).append(text)

    def forgive_absent(self) -> None:
        """Nothing is wrong with what was not given: it is taken from elsewhere."""
        self._problems = {name: texts for name, texts in self._problems.items() if name in self._values}

    def check(self) -> None:
        """Raises CoprError 400 when anything was wrong."""
        if self._problems:
            raise self._error(self._problems)

    def text(self, name: str, *, required: bool = False, longest: int = 4096, strip: bool = True) -> str | None:
        """A string; a list is joined by spaces. None when not given or empty."""
        value = self._values.get(name)
        if isinstance(value, Mapping):
            self.problem(name, "Not a valid string.")
            return None
        if isinstance(value, (list, tuple)):
            value = " ".join(map(str, value))
        text = "" if value is None else str(value)
        if strip:
            text = text.strip()
        if not text:
            if required:
                self.problem(name, REQUIRED)
            return None
        if len(text) > longest:
            self.problem(name, f"Field cannot be longer than {longest} characters.")
        if _CONTROL.search(text):
            self.problem(name, "Control characters are not allowed.")
        return text

    def matching(self, name: str, pattern: str, message: str, *, required: bool = False) -> str | None:
        """A string that matches the whole pattern."""
        text = self.text(name, required=required)
        if text is not None and not re.fullmatch(pattern, text):
            self.problem(name, message)
        return text

    def words(self, name: str, *, most: int = 1000) -> list[str] | None:
        """A list of words: from a list, or from a string separated by whitespace. None when not given."""
        if name not in self._values:
            return None
        value = self._values[name]
        parts = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(part, (Mapping, list, tuple)) for part in parts):
            self.problem(name, "Not a valid list.")
            return None
        words = [word for part in parts if part is not None for word in str(part).split()]
        if len(words) > most:
            self.problem(name, f"More than {most} are not accepted.")
        return words

    def number(self, name: str, lowest: int, highest: int) -> int | None:
        """An integer, also as a string. None when not given or empty."""
        value = self._values.get(name)
        if value is None or value == "":
            return None
        number = as_number(value)
        if number is None:
            self.problem(name, "Not a valid integer value.")
        elif not lowest <= number <= highest:
            self.problem(name, f"Number must be between {lowest} and {highest}.")
            return None
        return number

    def flag(self, name: str) -> bool | None:
        """A boolean; None when not given."""
        if name not in self._values:
            return None
        value = self._values[name]
        return not (isinstance(value, (bool, int, float, str)) and value in _FALSE)

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        text = self.text(name)
        if text is not None and text not in choices:
            self.problem(name, NOT_A_CHOICE)
            return None
        return text


def as_number(value: object) -> int | None:
    """The integer that `value` is or spells; booleans and fractions are none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    text = str(value).strip() if isinstance(value, str) else ""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None


def single(values: Sequence[str]) -> str | Sequence[str]:
    """A form's field that was sent once is a string, one that was sent several times a list."""
    return values[0] if len(values) == 1 else list(values)
