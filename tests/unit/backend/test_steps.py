"""A step of a build, from its first log line to its published results."""

from tests.unit.backend import rpms
from tests.unit.backend.world import World, listed, results


async def test_a_chroot_step_ends_with_its_packages_listed_in_the_repository(world: World) -> None:
    summary = await world.build(42)
    assert (summary["outcome"], summary["packages"]) == ("succeeded", 2)
    assert set(listed(world.repo)) == {f"00000042-hello/{name}" for name in results()}


async def test_a_source_step_ends_with_the_package_and_the_architecture_tags_of_its_srpm(world: World) -> None:
    world.add_build(7, package=None)
    srpm = rpms.rpm(arch="src", epoch=2, exclusive_arch=["x86_64", "aarch64"], build_arch=["noarch"])
    response = await world.send(
        world.add_pod(7, "src"), {"hello-1.0-1.src.rpm": srpm, "hello.spec": b"Name: hello\n"}, log=b"line\n"
    )
    assert response.status_code == 200, response.text
    summary = response.json()
    assert summary["package"] == {"name": "hello", "version": "2:1.0-1"}
    assert summary["exclusiveArch"] == ["x86_64", "aarch64"]
    assert summary["buildArch"] == ["noarch"]
    stored = {path.name for path in (world.root / "results/alice/demo/srpm-builds/00000007").iterdir()}
    assert stored == {"hello-1.0-1.src.rpm", "hello.spec", "builder-live.log.gz", "results.json", "success"}
