"""Which builds wait for which: `withBuild` joins, `afterBuild` waits for all that have joined."""

from typing import Any

import pytest

from copr_operator.controller.batches import DEPTH, batch_of
from copr_operator.core.observed import Batch, BuildView
from tests.unit.controller.fakes import build


async def batch(of: BuildView, *others: BuildView) -> Batch:
    """`others` exist as well; those without an end are the active ones."""
    everything = {(view.namespace, view.name): view for view in (of, *others)}

    async def lookup(namespace: str, name: str) -> BuildView | None:
        return everything.get((namespace, name))

    ended = ("succeeded", "failed", "canceled", "skipped")
    return await batch_of(of, [view for view in everything.values() if view.status.state not in ended], lookup)


def ended(name: str, state: str = "succeeded", **spec: Any) -> BuildView:
    return build(name, state=state, **spec)


FREE = Batch()


async def test_a_build_alone_waits_for_nobody() -> None:
    assert await batch(build(), build("other")) == FREE


async def test_a_build_waits_for_the_one_it_comes_after() -> None:
    found = await batch(build(afterBuild="first"), build("first"))
    assert found == Batch(blocked=True, message="CoprBuild first has not ended")


@pytest.mark.parametrize("state", ["succeeded", "failed", "canceled", "skipped"])
async def test_any_end_of_the_other_lets_it_go(state: str) -> None:
    assert await batch(build(afterBuild="first"), ended("first", state)) == FREE


async def test_a_build_waits_for_all_that_have_joined_the_one_it_comes_after() -> None:
    later = build(afterBuild="first")
    found = await batch(later, ended("first"), build("second", withBuild="first"))
    assert found == Batch(blocked=True, message="CoprBuild second of the same batch has not ended")
    assert await batch(later, ended("first"), ended("second", withBuild="first")) == FREE


async def test_coming_after_one_that_has_joined_is_coming_after_the_whole_batch() -> None:
    later = build(afterBuild="second")
    second = ended("second", withBuild="first")
    assert (await batch(later, build("first"), second)).blocked
    assert await batch(later, ended("first"), second) == FREE


async def test_what_one_of_a_batch_waits_for_all_of_it_wait_for() -> None:
    joined = build(withBuild="leader")
    leader = build("leader", afterBuild="first")
    assert (await batch(joined, leader, build("first"))).message == "CoprBuild first has not ended"
    assert await batch(joined, leader, ended("first")) == FREE


async def test_a_build_that_joins_waits_for_nobody_of_its_own_batch() -> None:
    assert await batch(build(withBuild="leader"), build("leader"), build("third", withBuild="leader")) == FREE


async def test_joining_goes_on_from_one_to_the_next() -> None:
    chain = [build("a", withBuild="b"), build("b", withBuild="c"), build("c", afterBuild="first")]
    assert (await batch(*chain, build("first"))).message == "CoprBuild first has not ended"


@pytest.mark.parametrize("link", ["afterBuild", "withBuild"])
async def test_a_build_that_does_not_exist_is_waited_for_by_name(link: str) -> None:
    spec: dict[str, Any] = {link: "nobody"}
    found = await batch(build(**spec))
    assert found == Batch(blocked=True, message="CoprBuild nobody does not exist")


async def test_builds_of_other_namespaces_do_not_count() -> None:
    elsewhere = build("second", namespace="elsewhere", withBuild="first")
    assert await batch(build(afterBuild="first"), ended("first"), elsewhere) == FREE
    assert (await batch(build(afterBuild="there"), build("there", namespace="elsewhere"))).message == (
        "CoprBuild there does not exist"
    )


class TestCircles:
    """Builds of the fakes are all of one age; then the uid decides which is the youngest."""

    async def test_a_build_that_joins_itself_in_the_end_is_in_a_circle(self) -> None:
        text = "the chain of withBuild from a is a circle"
        found = await batch(build("a", withBuild="b"), build("b", withBuild="a"))
        assert found == Batch(blocked=True, message=text, circle=text)
        outside = await batch(build("c", withBuild="a"), build("a", withBuild="b"), build("b", withBuild="a"))
        assert outside.circle

    @pytest.mark.parametrize("link", ["afterBuild", "withBuild", "rerunOf"])
    async def test_a_build_that_waits_for_itself_fails(self, link: str) -> None:
        spec: dict[str, Any] = {link: "a", **({"source": None} if link == "rerunOf" else {})}
        assert (await batch(build("a", **spec))).circle

    async def test_the_youngest_of_a_circle_fails_and_the_others_wait_for_its_end(self) -> None:
        ring = [build("a", afterBuild="b"), build("b", afterBuild="c"), build("c", afterBuild="a")]
        found = {one.name: await batch(one, *(o for o in ring if o is not one)) for one in ring}
        assert {name: each.circle for name, each in found.items()} == {
            "a": "", "b": "", "c": "a, b and this build wait for each other",
        }  # fmt: skip
        assert all(each.blocked for each in found.values())
        assert await batch(ring[1], ring[0], ended("c", "failed", afterBuild="a")) == FREE

    async def test_a_circle_may_go_through_those_who_have_joined(self) -> None:
        """`b` waits for the whole batch of `a`, and `c`, which has joined it, for `b`'s rerun."""
        a, b = build("a"), build("b", afterBuild="a")
        c = build("c", withBuild="a", source=None, rerunOf="b")
        assert (await batch(c, a, b)).circle == "b and this build wait for each other"
        assert (await batch(b, a, c)).circle == ""

    async def test_a_batch_that_comes_after_itself_is_a_circle(self) -> None:
        leader, joined = build("a", afterBuild="b"), build("b", withBuild="a")
        assert (await batch(joined, leader)).circle == "a and this build wait for each other"

    async def test_what_waits_for_a_circle_is_not_in_it(self) -> None:
        ring = (build("a", afterBuild="b"), build("b", afterBuild="a"))
        found = await batch(build("z", afterBuild="a"), *ring)
        assert (found.blocked, found.circle) == (True, "")

    async def test_one_whose_parent_ended_in_a_circle_of_joins_is_free(self) -> None:
        broken = (ended("b", "failed", withBuild="c"), ended("c", "failed", withBuild="b"))
        assert await batch(build("a", afterBuild="b"), *broken) == FREE


async def test_a_chain_may_be_long_but_not_without_end() -> None:
    long = [build(f"b{n}", withBuild=f"b{n + 1}") for n in range(DEPTH - 1)]
    assert await batch(*long, build(f"b{DEPTH - 1}")) == FREE
    longer = [*long, build(f"b{DEPTH - 1}", withBuild=f"b{DEPTH}")]
    assert (await batch(*longer, build(f"b{DEPTH}"))).blocked


async def test_a_circle_elsewhere_does_not_stop_others() -> None:
    circle = (build("a", withBuild="b"), build("b", withBuild="a"))
    assert await batch(build(afterBuild="first"), ended("first"), *circle) == FREE
