"""Which builds wait for which: `withBuild` joins, `afterBuild` waits for all that have joined."""

from collections.abc import Collection, Hashable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from copr_operator.api.build import BuildStatus
from copr_operator.controller.batches import Batches
from copr_operator.controller.store import Key
from copr_operator.controller.table import Table
from copr_operator.core.observed import Batch, BuildView
from tests.unit.controller.fakes import build
from tests.unit.controller.stores import Watched


class World:
    """Builds in a namespace, as the controller asks for them; it counts its questions."""

    def __init__(self, *views: BuildView) -> None:
        self.store = Watched()
        self.views: dict[tuple[str, str], BuildView] = {}
        self.lookups = 0
        self.batches = Batches(self.store, self.lookup, self.store.woken.append)
        self.put(*views)

    def put(self, *views: BuildView) -> None:
        for view in views:
            self.views[view.namespace, view.name] = view
            self.store.assume_build(view)

    def remove(self, view: BuildView) -> None:
        del self.views[view.namespace, view.name]
        self.store.see(view, "DELETED")

    async def lookup(self, namespace: str, name: str) -> BuildView | None:
        self.lookups += 1
        return self.views.get((namespace, name))

    async def ask(self, name: str) -> Batch:
        """What the build waits for; it is latched, as a plan does it."""
        view = self.views["ns", name]
        found = await self.batches.of(view)
        if found.latch is not None and found.latch != view.status.batch:
            status = view.status.model_copy(update={"batch": found.latch})
            self.put(replace(view, status=status, resource_version=str(int(view.resource_version) + 1)))
        return found


async def batch(of: BuildView, *others: BuildView) -> Batch:
    """Without what is latched. `others` exist as well; the store holds those without an end."""
    world = World(of, *others)
    return replace(await world.batches.of(of), latch=None)


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


@pytest.mark.parametrize("over", [False, True])
async def test_a_chain_may_be_long(over: bool) -> None:
    chain = [build(f"b{n}", withBuild=f"b{n + 1}") for n in range(100)]
    rest = [ended(view.name, withBuild=view.spec.with_build) for view in chain[1:]] if over else chain[1:]
    assert await batch(chain[0], *rest, build("b100", state="succeeded" if over else None)) == FREE
    assert (await batch(chain[0], *rest, build("b100", afterBuild="first"), build("first"))).blocked


async def test_a_circle_elsewhere_does_not_stop_others() -> None:
    circle = (build("a", withBuild="b"), build("b", withBuild="a"))
    assert await batch(build(afterBuild="first"), ended("first"), *circle) == FREE


class TestMemory:
    """What was there once is not waited for again."""

    async def test_one_that_was_never_there_is_waited_for_and_one_that_is_gone_is_not(self) -> None:
        world = World(build("c", afterBuild="a"))
        assert (await world.ask("c")).message == "CoprBuild a does not exist"
        assert world.views["ns", "c"].status.batch is None
        world.put(build("a"))
        assert (await world.ask("c")).message == "CoprBuild a has not ended"
        world.remove(build("a", version=2, state="failed"))
        assert not (await world.ask("c")).blocked

    async def test_a_batch_outlives_the_build_it_began_with(self) -> None:
        world = World(build("a"), build("b", withBuild="a"), build("c", afterBuild="a"))
        for name in ("b", "c"):
            await world.ask(name)
        world.remove(build("a", version=2, state="failed"))
        assert (await world.ask("c")).message == "CoprBuild b of the same batch has not ended"
        assert not (await world.ask("b")).blocked
        world.remove(world.views["ns", "b"])
        assert not (await world.ask("c")).blocked

    async def test_one_that_joins_a_batch_when_its_first_build_is_gone_joins_those_that_are_left(self) -> None:
        world = World(build("x"), build("a", afterBuild="x"), build("b", withBuild="a"))
        await world.ask("b")
        world.remove(build("a", version=2, state="failed"))
        world.put(build("n", withBuild="a"))
        assert (await world.ask("n")).message == "CoprBuild x has not ended"
        world.put(build("x", version=2, state="failed"))
        assert not (await world.ask("n")).blocked

    async def test_what_the_first_of_a_batch_waited_for_the_others_wait_for_when_it_is_gone(self) -> None:
        world = World(build("x"), build("a", afterBuild="x"), build("b", withBuild="a"))
        await world.ask("b")
        world.remove(build("a", version=2))
        assert (await world.ask("b")).message == "CoprBuild x has not ended"

    async def test_what_the_first_of_a_batch_waited_for_may_come_when_that_is_gone(self) -> None:
        world = World(build("a", afterBuild="x"), build("b", withBuild="a"))
        assert (await world.ask("b")).message == "CoprBuild x does not exist"
        world.remove(build("a", version=2))
        assert (await world.ask("b")).message == "CoprBuild x does not exist"
        world.put(build("x"))
        assert (await world.ask("b")).message == "CoprBuild x has not ended"

    async def test_a_chain_is_followed_as_far_as_it_was_there(self) -> None:
        """`b` is gone when `c`, which it joins, comes."""
        world = World(build("b", withBuild="c"), build("a", withBuild="b"), build("z", afterBuild="b"))
        for name in "az":
            assert (await world.ask(name)).message == "CoprBuild c does not exist"
        world.remove(build("b", version=2))
        world.put(build("c", afterBuild="x"), build("x"))
        assert (await world.ask("a")).message == "CoprBuild x has not ended"
        assert (await world.ask("z")).message == "CoprBuild c has not ended"

    async def test_one_that_is_found_in_the_way_of_another_is_not_looked_for_any_more(self) -> None:
        world = World(build("a"), build("c", afterBuild="a"))
        await world.ask("c")
        world.lookups = 0
        await world.ask("c")
        assert world.lookups == 0

    async def test_a_new_build_of_the_old_name_is_waited_for(self) -> None:
        world = World(build("a"), build("c", afterBuild="a"))
        await world.ask("c")
        world.remove(build("a", version=2))
        world.put(build("a", uid="another"))
        assert (await world.ask("c")).message == "CoprBuild a has not ended"

    async def test_those_that_have_joined_one_that_has_joined_count(self) -> None:
        """`b` has ended before anything was found of what `a` joins."""
        world = World(build("c", afterBuild="l"), build("l", state="failed"), build("a", withBuild="b"))
        world.put(ended("b", withBuild="l"))
        assert (await world.ask("c")).message == "CoprBuild a of the same batch has not ended"


class TestWhoFails:
    async def test_who_finds_a_circle_that_a_younger_one_has_closed_wakes_that_one(self) -> None:
        world = World(build("b", afterBuild="a"))
        await world.ask("b")
        world.put(build("a", afterBuild="b"))
        world.store.woken.clear()
        assert (await world.ask("a")).circle == ""
        assert world.store.woken == [Key("build", "ns", "b")]
        assert (await world.ask("b")).circle == "a and this build wait for each other"

    async def test_those_that_still_form_a_circle_when_the_youngest_of_it_has_failed_fail_too(self) -> None:
        """`a` waits for its whole batch: for itself, when `b`, which has joined it, has ended."""
        world = World(build("a", afterBuild="b"), build("b", withBuild="a"))
        assert (await world.ask("a")).circle == ""
        assert (await world.ask("b")).circle == "a and this build wait for each other"
        world.put(build("b", version=9, state="failed", withBuild="a"))
        assert (await world.ask("a")).circle == "this build waits for itself"

    async def test_one_for_which_nobody_waits_yet_looks_for_a_circle_when_asked_again(self) -> None:
        """Those of a ring are asked at the same time: that `v` waits for `y` is known when its links are latched."""
        world = World(build("m", withBuild="y"), build("v", afterBuild="m"), build("y", afterBuild="v"))
        await world.ask("m")
        for name in "vy":
            assert (await world.batches.of(world.views["ns", name])).circle == ""
        assert (await world.ask("v")).circle == ""
        assert (await world.ask("y")).circle == "m, v and this build wait for each other"

    async def test_one_that_has_begun_waits_for_nobody(self) -> None:
        """`b` came after `a` and runs; `c` has joined `a` since, and reruns `b`."""
        running = replace(build("b", afterBuild="a"), status=BuildStatus.model_validate(
            {"state": "running", "source": {"state": "succeeded"}}))  # fmt: skip
        assert (await batch(build("c", withBuild="a", source=None, rerunOf="b"), build("a"), running)).circle == ""


LONG = 400


def one_of(shape: str, number: int) -> BuildView:
    """Of builds that each name the one before; the first of those that join comes after one that is not there."""
    first: dict[str, Any] = {"afterBuild": "x"} if shape == "withBuild" else {}
    link: dict[str, Any] = {shape: f"b{number - 1}"} if number else first
    return build(f"b{number}", **link)


class TestWork:
    """How much is looked at; that time follows from it needs no clock."""

    @staticmethod
    async def cost(world: World, monkeypatch: pytest.MonkeyPatch, order: Iterable[int]) -> int:
        """Questions to the tables and lookups while all are asked once."""
        questions, indexed = 0, Table.indexed

        def count(table: Table[Any], key: Hashable) -> Collection[Any]:
            nonlocal questions
            questions += 1
            return indexed(table, key)

        world.lookups = 0
        with monkeypatch.context() as patch:
            patch.setattr(Table, "indexed", count)
            for number in order:
                await world.ask(f"b{number}")
        return questions + world.lookups

    @pytest.mark.parametrize("order", [range(LONG), range(LONG - 1, -1, -1)], ids=["forward", "backward"])
    @pytest.mark.parametrize("shape", ["afterBuild", "withBuild"])
    async def test_all_of_a_chain_cost_a_few_questions_each(
        self, monkeypatch: pytest.MonkeyPatch, shape: str, order: range
    ) -> None:
        world = World(*(one_of(shape, number) for number in range(LONG)))
        await self.cost(world, monkeypatch, range(LONG))  # each latches what it has found, as when it is accepted
        world.batches = Batches(world.store, world.lookup, world.store.woken.append)  # a restart
        assert await self.cost(world, monkeypatch, order) <= 12 * LONG
        assert await self.cost(world, monkeypatch, order) <= 5 * LONG

    async def test_a_chain_that_comes_one_by_one_costs_a_few_questions_each(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world, total = World(), 0
        for number in range(LONG):
            world.put(one_of("afterBuild", number))
            total += await self.cost(world, monkeypatch, [number])
        assert total <= 20 * LONG

    async def test_the_end_of_one_wakes_those_that_wait_for_it_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = World(*(one_of("afterBuild", number) for number in range(LONG)))
        await self.cost(world, monkeypatch, range(LONG))
        assert [other.name for other in world.store.waiting_for(world.views["ns", "b7"])] == ["b8"]
