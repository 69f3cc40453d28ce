"""One kind's objects as the controller holds them: the newest version of each, and what was there before."""

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Generic, Protocol, TypeVar

from copr_operator.kube.versions import is_newer


class _Versioned(Protocol):
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


REMEMBERED = 2000
"""Objects that have left a table: more than can end between a page's answer and the moment it is read."""

V = TypeVar("V", bound=_Versioned)


class Table(Generic[V]):
    """Objects of one kind by (namespace, name), with the newest version of each.

    They are found by uid and by the keys that `index` gives them as well, whatever the number of other objects. What
    has left is remembered for a while: a page of a LIST may show it although the watch, or our own write, has told its
    end since the page was read.
    """

    def __init__(self, index: Callable[[V], Iterable[Hashable]] = lambda _: ()) -> None:
        self._index = index
        self._by_name: dict[tuple[str, str], V] = {}
        self._by_uid: dict[str, V] = {}
        self._indexed: dict[Hashable, dict[str, V]] = {}
        self._left: dict[str, str] = {}
        """By uid: the version that had left; the oldest first, at most REMEMBERED."""

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, namespace: str, name: str) -> V | None:
        return self._by_name.get((namespace, name))

    def find(self, uid: str) -> V | None:
        return self._by_uid.get(uid)

    def has_left(self, uid: str) -> bool:
        """Whether the object was here and is not any more; of those that left long ago nobody knows."""
        return uid in self._left and uid not in self._by_uid

    def indexed(self, key: Hashable) -> Collection[V]:
        return self._indexed.get(key, {}).values()

    def values(self) -> Collection[V]:
        return self._by_name.values()

    def put(self, view: V) -> bool:
        """True when the view is news. A late event is none, not even one of an earlier object of the same name."""
        held, left = self.get(view.namespace, view.name), self._left.get(view.uid)
        if left is not None and not is_newer(view.resource_version, left):
            return False
        if held is not None:
            if not is_newer(view.resource_version, held.resource_version):
                return False
            self._unlink(held)
        self._by_name[view.namespace, view.name] = self._by_uid[view.uid] = view
        for key in self._index(view):
            self._indexed.setdefault(key, {})[view.uid] = view
        return True

    def read(self, view: V) -> bool:
        """`put`, for what a request has just shown: it is there, also when it left under this very version. Only
        its end comes under a version of its own."""
        if self._left.get(view.uid) == view.resource_version:
            del self._left[view.uid]
        return self.put(view)

    def drop(self, uid: str, version: str) -> V | None:
        """What was held of this very object; a later one of the same name stays. `version` is the object's last one."""
        self._left.pop(uid, None)
        self._left[uid] = version
        if len(self._left) > REMEMBERED:
            del self._left[next(iter(self._left))]
        held = self._by_uid.get(uid)
        if held is not None:
            self._unlink(held)
        return held

    def _unlink(self, held: V) -> None:
        del self._by_name[held.namespace, held.name], self._by_uid[held.uid]
        for key in self._index(held):
            siblings = self._indexed[key]
            del siblings[held.uid]
            if not siblings:
                del self._indexed[key]

    def uids(self, namespace: str | None = None) -> set[str]:
        """Of one namespace, or of all of them."""
        return {uid for uid, view in self._by_uid.items() if namespace in (None, view.namespace)}
