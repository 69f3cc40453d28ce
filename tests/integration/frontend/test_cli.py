"""The unmodified copr-cli as a process: what people type, what they read, exit codes."""

from tests.support.frontend import Site

URL = "http://sources.example/hello-2.8-1.src.rpm"


async def test_a_person_makes_a_project_and_builds_in_it(site: Site) -> None:
    alice = site.people["alice"]
    made = await alice.cli("create", "demo", "--chroot", "debian-13-x86_64", "--description", "A demo")
    assert (made.code, made.out) == (0, f"New project was successfully created: {site.url}/coprs/alice/demo/\n"), made
    built = await alice.cli("build", "demo", URL)
    assert built.code == 0, built
