"""Builds that wait for each other in a circle: none of them would ever start. Pure."""

from collections.abc import Collection, Mapping


def circle(start: str, waits: Mapping[str, Collection[str]]) -> frozenset[str]:
    """All that `start` waits for and that waits for `start`, itself among them; empty when it is in no circle.

    `waits`: by uid, the uids of what each build waits for directly. What is not in it waits for nothing.
    """
    ahead = _reached(start, waits)
    if start not in ahead:
        return frozenset()
    backward: dict[str, set[str]] = {}
    for uid in ahead:
        for other in waits.get(uid, ()):
            backward.setdefault(other, set()).add(uid)
    return frozenset(ahead & _reached(start, backward))


def _reached(start: str, links: Mapping[str, Collection[str]]) -> set[str]:
    """What can be reached from `start` by one link or more."""
    reached: set[str] = set()
    todo = list(links.get(start, ()))
    while todo:
        uid = todo.pop()
        if uid not in reached:
            reached.add(uid)
            todo += links.get(uid, ())
    return reached


def in_no_circle(waits: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Those from which no circle can be reached. Each link is looked at once."""
    open_links = {uid: len(set(others)) for uid, others in waits.items()}
    backward: dict[str, set[str]] = {}
    for uid, others in waits.items():
        for other in others:
            backward.setdefault(other, set()).add(uid)
            open_links.setdefault(other, 0)
    todo = [uid for uid, count in open_links.items() if count == 0]
    done: set[str] = set()
    while todo:
        uid = todo.pop()
        done.add(uid)
        for other in backward.get(uid, ()):
            open_links[other] -= 1
            if open_links[other] == 0:
                todo.append(other)
    return frozenset(done)
