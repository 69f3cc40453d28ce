"""Other source for one function, while it lasts and for everyone who has imported it: how mutants are made."""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any


class MutationError(Exception):
    """The source that a mutant changes is not what it was: the mutant must be written anew."""


@dataclass(frozen=True)
class Edit:
    """`old` becomes `new` in the source of `function`, where `old` is found exactly once."""

    function: Callable[..., Any]
    old: str
    new: str


@contextmanager
def changed(edit: Edit) -> Iterator[None]:
    function = inspect.unwrap(edit.function)
    assert isinstance(function, FunctionType)
    code = function.__code__
    function.__code__ = _compiled(edit, function)
    try:
        yield
    finally:
        function.__code__ = code


def _compiled(edit: Edit, function: FunctionType) -> CodeType:
    decorated = textwrap.dedent(inspect.getsource(function))
    source = decorated[re.search(r"^(async )?def ", decorated, re.MULTILINE).start() :]  # type: ignore[union-attr]
    count = source.count(edit.old)
    if count != 1:
        raise MutationError(f"{edit.old!r} is {count} times in {function.__qualname__}")
    namespace = dict(function.__globals__)
    changed = source.replace(edit.old, edit.new)
    exec(compile(changed, inspect.getfile(function), "exec", dont_inherit=True), namespace)  # noqa: S102 (our source)
    code: CodeType = namespace[function.__name__].__code__
    if _meaning(code) == _meaning(function.__code__):
        raise MutationError(f"{edit.old!r} and {edit.new!r} mean the same in {function.__qualname__}")
    return code


def _meaning(code: CodeType) -> tuple[Any, ...]:
    """What runs, whatever the lines it stands in."""
    inner = tuple(_meaning(const) if isinstance(const, CodeType) else const for const in code.co_consts)
    return code.co_code, inner, code.co_names
