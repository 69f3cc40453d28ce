"""limit, offset, order: one page of a list, and the meta that goes with it (contract 1.6). Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.fields import as_number

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """The page that was asked for. `limit` None: everything from `offset` on."""

    limit: int | None = None
    offset: int = 0
    order: str = "id"
    order_type: str = "ASC"

    @classmethod
    def of(cls, query: Mapping[str, str], orders: Iterable[str]) -> "Page":
        """Raises CoprError 400 for what is no number, no order or no direction. `limit=0` is no limit, as in Copr."""
        order = query.get("order") or "id"
        if order not in orders:
            raise CoprError(400, f"Cannot order by {order[:100]}")
        direction = query.get("order_type") or "ASC"
        if direction not in ("ASC", "DESC"):
            raise CoprError(400, "order_type must be ASC or DESC")
        return cls(_number(query, "limit") or None, _number(query, "offset") or 0, order, direction)

    def cut(self, items: Sequence[T]) -> Sequence[T]:
        return items[self.offset :] if self.limit is None else items[self.offset : self.offset + self.limit]

    def sort(self, items: Iterable[T], key: Callable[[T], Any]) -> list[T]:
        return sorted(items, key=key, reverse=self.order_type == "DESC")

    @property
    def meta(self) -> dict[str, object]:
        return {"limit": self.limit, "offset": self.offset, "order": self.order, "order_type": self.order_type}


NO_META: dict[str, object] = {"limit": None, "offset": None, "order": None, "order_type": None}
"""Beside the builds of `create/url`."""


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None or text == "":
        return None
    number = as_number(text)
    if number is None or number < 0:
        raise CoprError(400, f"{name} must be a number that is not negative")
    return number
