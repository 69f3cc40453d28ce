"""Short stories of a CoprPackage and its builds that are known to be dangerous."""

from typing import Any

from copr_operator.api.common import TERMINAL
from copr_operator.api.package import DefinitionStatus
from copr_operator.core.package import wanted_build
from copr_operator.core.views import package_view
from tests.model.apiserver import Obj
from tests.model.invariants import status_of
from tests.model.loop import CLOCK
from tests.model.scenes import Story, a_build_succeeds
from tests.model.world import ARM, SOURCE, X86

OTHER_SOURCE = {"type": "link", "link": {"url": "http://x.example/hello-2.src.rpm"}}
POST_BUILD, LIST_BUILDS = "POST .*/coprbuilds$", "GET .*/coprbuilds$"
LATCH = "PATCH .*/coprpackages/[a-z]+/status$"


def said(story: Story, name: str = "hello") -> DefinitionStatus:
    return package_view(story.world.package(name)).status


def reason(story: Story, name: str = "hello") -> str:
    return next((c.reason for c in said(story, name).conditions), "")


def made(story: Story) -> list[Obj]:
    """Builds that are made from packages, oldest first."""
    return [build for build in story.world.builds if "ownerReferences" in build["metadata"]]


def is_told(story: Story, name: str = "hello") -> bool:
    """All builds have ended, and the package says how the last one did."""
    last = said(story, name).last_build
    return last is not None and last.state in TERMINAL and all_have_ended(story)


def all_have_ended(story: Story) -> bool:
    return all(status_of(build).state in TERMINAL for build in story.world.builds)


def define(story: Story, **spec: Any) -> None:
    story.world.define_package("hello", source=SOURCE, **spec)


def build_again(story: Story, *names: str, **spec: Any) -> None:
    """One after the other."""
    for name in names:
        story.world.create_build(name, packageName="hello", **spec)
        story.goes_on(lambda: all_have_ended(story))


def wait(seconds: int) -> None:
    CLOCK.seconds += seconds


def left(story: Story) -> set[str]:
    return {build["metadata"]["name"] for build in story.world.builds}


# -- builds that follow the source -------------------------------------------------------------------------------------


def a_source_comes_back(story: Story) -> None:
    for number, source in enumerate((SOURCE, OTHER_SOURCE, SOURCE), 1):
        story.world.define_package("hello", source=source, buildOnChange=True)
        story.goes_on(lambda number=number: is_told(story) and said(story).sources_built == number)  # type: ignore[misc]
    assert [build["spec"]["source"] for build in made(story)] == [SOURCE, OTHER_SOURCE, SOURCE]


def a_controller_dies_when_it_has_made_a_build(story: Story) -> None:
    """And somebody changes something else before the next one looks."""
    define(story, buildOnChange=True)
    story.dies_after(POST_BUILD)
    define(story, timeout=900)
    story.goes_on(lambda: is_told(story))
    assert len(made(story)) == 1


def a_controller_does_not_hear_that_it_has_made_a_build(story: Story) -> None:
    define(story, buildOnChange=True)
    story.life.answer(story.comes_to(POST_BUILD), "unheard")
    story.goes_on(lambda: is_told(story))
    assert len(made(story)) == 1


def a_build_is_deleted_before_it_is_heard_that_its_source_is_latched(story: Story) -> None:
    """The controller does not know what it has written, and the watch of packages is far behind."""
    define(story, buildOnChange=True)
    story.life.answer(story.comes_to(LATCH), "unheard")
    (build,) = made(story)
    story.world.delete_build(build)
    for _ in range(10):
        story.controller_acts("coprbuilds")
        story.cluster_acts()
        wait(1)
    assert not made(story)


def somebody_has_the_name_of_a_packages_build(story: Story) -> None:
    define(story, buildOnChange=True)
    name = wanted_build(package_view(story.world.package("hello")))
    assert name is not None
    story.world.create_build(name)
    story.goes_on(lambda: reason(story) == "NameCollision")
    story.world.delete_build(story.world.build(name))
    story.goes_on(lambda: is_told(story))


def a_package_is_deleted_while_its_build_runs(story: Story) -> None:
    define(story, buildOnChange=True)
    story.goes_on(lambda: any(status_of(build).state == "running" for build in made(story)))
    story.world.remove_package("hello")


def the_srpm_is_called_otherwise(story: Story) -> None:
    """It is the package's build all the same, also when its name is known."""
    story.world.define_package("other", source=SOURCE, buildOnChange=True)
    story.goes_on(lambda: all_have_ended(story) and bool(made(story)))
    story.controller_acts()
    assert reason(story, "other") == "BuildSucceeded"


# -- the last build ----------------------------------------------------------------------------------------------------


def a_build_fails_at_once_and_the_controller_dies(story: Story) -> None:
    """It has ended with its first status, and the package has not been told yet."""
    define(story)
    story.goes_on(lambda: is_told(story))
    story.world.create_build("two", packageName="hello", chroots=["fedora-99-x86_64"])
    story.dies_after("PATCH .*/coprbuilds/two/status$")
    story.world.fair_round()


def a_build_ends_and_nobody_hears_so(story: Story) -> None:
    define(story)
    story.goes_on(lambda: is_told(story))
    story.world.create_build("two", packageName="hello", chroots=["fedora-99-x86_64"])
    story.life.answer(story.comes_to("PATCH .*/coprbuilds/two/status$"), "unheard")


def the_last_build_is_deleted_before_its_end(story: Story) -> None:
    """The one before is the last again."""
    define(story)
    story.goes_on(lambda: is_told(story))
    story.world.create_build("two", packageName="hello")
    story.goes_on(lambda: (last := said(story).last_build) is not None and last.name == "two")
    story.world.delete_build(story.world.build("two"))


def a_package_is_defined_after_its_builds(story: Story) -> None:
    a_build_succeeds(story)
    define(story)
    story.goes_on(lambda: reason(story) == "BuildSucceeded")


# -- as many as are kept -----------------------------------------------------------------------------------------------


def more_builds_than_are_kept(story: Story) -> None:
    define(story, maxBuilds=2)
    a_build_succeeds(story)
    build_again(story, "two", "three", "four")
    story.goes_on(lambda: left(story) == {"three", "four"})


def failures_follow_a_success(story: Story) -> None:
    define(story, maxBuilds=1)
    a_build_succeeds(story)
    build_again(story, "two", "three", chroots=["fedora-99-x86_64"])
    story.goes_on(lambda: left(story) == {"one", "three"})


def a_newer_build_ends_first(story: Story) -> None:
    """The older one is one too many, but it runs."""
    define(story, maxBuilds=1)
    story.chroots_are("running")
    for name in ("two", "three"):
        story.world.create_build(name, packageName="hello", chroots=["fedora-99-x86_64"])
        story.controller_acts()
        wait(2)
    story.controller_acts()
    assert left(story) == {"one", "three"}


def a_build_ends_while_others_are_counted(story: Story) -> None:
    """It is not in the list that was read before, and nobody had known of it."""
    define(story)
    story.goes_on(lambda: is_told(story))
    define(story, maxBuilds=1)
    story.life.answer(story.comes_to(LIST_BUILDS))  # by the name that was announced; then by that of the SRPM
    listed = story.comes_to(LIST_BUILDS)
    story.life.answer(listed, "held")
    story.world.create_build("two", packageName="hello", chroots=[X86])
    story.life.deliver_all()
    for _ in range(100):
        for call in [call for call in story.life.calls if call is not listed]:
            story.life.answer(call)
        story.cluster_acts()
        for work in story.world.cluster.busy():
            story.world.cluster.run_to_end(work, "success")
        wait(2)
        story.life.deliver_all()
        if status_of(story.world.build("two")).state == "succeeded":
            return
    raise AssertionError("two does not end")


def the_project_comes_after_what_is_too_much(story: Story) -> None:
    """Whether builds are deleted is the project's to say: it may be persistent."""
    define(story, maxBuilds=1)
    a_build_succeeds(story)
    story.world.remove_project()
    story.goes_on(lambda: story.world.api.find("coprprojects", "ns", "demo") is None)
    for name in ("two", "three"):
        story.world.create_build(name, packageName="hello", chroots=[ARM], cancel=True)
    story.goes_on(lambda: all_have_ended(story))
    story.world.define_project(persistent=True)
    story.goes_on(lambda: is_told(story))
    assert left(story) == {"one", "two", "three"}
    story.world.define_project()
    story.goes_on(lambda: left(story) == {"one", "three"})


def a_quota_is_full_of_what_is_too_much(story: Story) -> None:
    define(story)
    a_build_succeeds(story)
    build_again(story, "two")
    story.world.api.refuse_builds = True
    define(story, buildOnChange=True, maxBuilds=1)
    story.goes_on(lambda: reason(story) == "BuildRefused")
    story.goes_on(lambda: left(story) == {"two"})
    story.world.api.refuse_builds = False
    story.goes_on(lambda: is_told(story) and bool(made(story)))


PACKAGE_SCENES = (
    a_source_comes_back,
    a_controller_dies_when_it_has_made_a_build,
    a_controller_does_not_hear_that_it_has_made_a_build,
    a_build_is_deleted_before_it_is_heard_that_its_source_is_latched,
    somebody_has_the_name_of_a_packages_build,
    a_package_is_deleted_while_its_build_runs,
    the_srpm_is_called_otherwise,
    a_build_fails_at_once_and_the_controller_dies,
    a_build_ends_and_nobody_hears_so,
    the_last_build_is_deleted_before_its_end,
    a_package_is_defined_after_its_builds,
    more_builds_than_are_kept,
    failures_follow_a_success,
    a_newer_build_ends_first,
    a_build_ends_while_others_are_counted,
    the_project_comes_after_what_is_too_much,
    a_quota_is_full_of_what_is_too_much,
)
