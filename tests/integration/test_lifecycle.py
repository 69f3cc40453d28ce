"""The controller against a real API server and Job controller; pods are ended by a fake kubelet."""

from tests.support.world import World


async def test_a_build_in_two_chroots_succeeds_within_its_write_budget(here: World) -> None:
    await here.create_chroots()
    await here.create_project()
    async with here.controller() as controller:
        await here.create_build()
        build = await here.until_state("succeeded")
        assert build["status"]["id"] >= 1
        assert [c["state"] for c in build["status"]["chroots"]] == ["succeeded", "succeeded"]
        assert controller.proxy.count("jobs", "POST") == 3
        assert controller.proxy.count("coprbuilds/status") <= 5
        assert controller.proxy.count("coprbuilds") == 1
