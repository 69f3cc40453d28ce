"""Which builds a fork takes over."""

from typing import Any

from copr_operator.frontend.forks import newest
from copr_operator.frontend.records import BuildRecord, build_record
from tests.unit.frontend.test_present import RESULTS, SUCCEEDED, build

D12, D13 = "debian-12-x86_64", "debian-13-x86_64"


def one(number: int, states: dict[str, str], package: str = "hello", **spec: Any) -> BuildRecord:
    source = {**SUCCEEDED["source"], "package": {"name": package, "version": f"{number}-1"}}
    chroots = [{"name": name, "state": state} for name, state in states.items()]
    found = build_record(build(number, {**SUCCEEDED, "source": source, "chroots": chroots}, **spec), RESULTS)
    assert found is not None
    return found


def wanted(builds: list[BuildRecord], *chroots: str) -> list[list[tuple[int, list[str]]]]:
    found = newest(builds, "demo", chroots)
    return [[(record.id, taken) for record, taken in package] for package in found]


def test_each_package_comes_from_the_newest_build_that_has_it_in_a_chroot() -> None:
    builds = [
        one(1, {D12: "succeeded", D13: "succeeded"}),
        one(2, {D13: "succeeded"}),
        one(3, {D12: "failed", D13: "skipped"}),
        one(4, {D13: "succeeded"}, package="other"),
        one(5, {D13: "succeeded"}, projectDirname="demo:pr:1"),
    ]
    assert wanted(builds, D12, D13) == [[(1, [D12]), (2, [D13])], [(4, [D13])]]
    assert wanted(builds, D12) == [[(1, [D12])]]


def test_a_fork_of_a_fork_takes_over_what_that_took_over() -> None:
    origin = {"owner": "bob", "projectDirname": "demo", "id": 7}
    assert wanted([one(8, {D12: "succeeded"}, forkedFrom=origin)], D12) == [[(8, [D12])]]
