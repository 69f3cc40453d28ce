"""A real backend process, killed by SIGKILL: no reader ever sees half a repository, and nothing has to be mended."""

import asyncio
import hashlib
import itertools
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from copr_operator.backend.store import WriteStep
from copr_operator.core.wire import FinishRequest
from tests.integration.backend.process import Backend, backend
from tests.integration.backend.server import BUILDS, populate
from tests.unit.backend.world import CHROOT, CONTROLLER_TOKEN, NAMESPACE, World, bearer, listed, packages_of, results

T = TypeVar("T")
REPO = f"results/alice/demo/{CHROOT}"


class Pod:
    """Brings the results of one build, as stubbornly as the real agent."""

    def __init__(self, url: str, number: int, token: str) -> None:
        self.url = url
        self.headers = bearer(token)
        self.files = results(f"p{number}")
        self.number = number

    def send(self) -> None:
        for name, data in self.files.items():
            headers = self.headers | {"X-Content-SHA256": hashlib.sha256(data).hexdigest()}
            answer = httpx.put(f"{self.url}/agent/v1/files/{name}", content=data, headers=headers, timeout=30)
            assert answer.status_code in (200, 410), answer.text

    def request(self) -> str:
        """Body of the finish request."""
        listed_files = [{"name": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in self.files.items()]
        return FinishRequest.model_validate({"outcome": "succeeded", "files": listed_files}).model_dump_json()

    def finish(self) -> dict[str, object]:
        answer = httpx.post(f"{self.url}/agent/v1/finish", content=self.request(), headers=self.headers, timeout=30)
        assert answer.status_code == 200, answer.text
        summary: dict[str, object] = answer.json()
        return summary

    @property
    def packages(self) -> dict[str, str]:
        directory = f"{self.number:08d}-p{self.number}"
        return {f"{directory}/{name}": hashlib.sha256(data).hexdigest() for name, data in self.files.items()}


def tokens(tmp_path: Path) -> list[str]:
    return populate(World(tmp_path / "unused"))


def clean(root: Path) -> None:
    """After an undisturbed publication nothing is left of the killed ones."""
    repomd = (root / REPO / "repodata/repomd.xml").read_bytes()
    state = [path.name for path in (root / "state/repos/alice/demo" / CHROOT).iterdir()]
    assert state == [f"index-{hashlib.sha256(repomd).hexdigest()}"]
    assert not [path for path in (root / REPO / "repodata").iterdir() if path.name.startswith(".")]


@dataclass(frozen=True)
class Death:
    """Where a backend ended itself."""

    step: WriteStep
    path: str


def walk(process: Backend, prepare: Callable[[int], T], act: Callable[[T], None]) -> Iterator[tuple[T, Death]]:
    """Every step of an act: each time something is prepared, and acted on with a process that dies one step later.

    Yields what was prepared and where the process died, with no process running. Ends when the act went through.
    """
    count, killed = process.root / "count", process.root / "killed"
    for number in itertools.count(1):
        subject = prepare(number)
        process.kill()
        process.start(kill_at=number)
        count.touch()
        try:
            act(subject)
        except httpx.TransportError:
            process.wait()
            step, _space, path = killed.read_text().partition(" ")
            yield subject, Death(WriteStep(step), path)
        else:
            return
        finally:
            count.unlink()


WRITTEN = {WriteStep.STAGE, WriteStep.STAGED, WriteStep.RENAMED, WriteStep.STORED}
DELETED = {WriteStep.DELETE, WriteStep.DELETED}


def steps(deaths: list[Death], pattern: str) -> set[WriteStep]:
    """The steps that were died at with a path that ends so (a regular expression)."""
    return {death.step for death in deaths if re.search(f"{pattern}$", death.path)}


def whole(root: Path) -> None:
    """Every package that is listed is there, and is the one that is listed."""
    for href, sha256 in listed(root / REPO).items():
        assert hashlib.sha256((root / REPO / href).read_bytes()).hexdigest() == sha256


def test_killed_at_every_step_of_an_upload(tmp_path: Path) -> None:
    """A pod sends its files; sent again they are whole, and nothing else has their names."""
    pods, root = tokens(tmp_path), tmp_path / "store"
    deaths = []
    with backend(root) as process:
        for pod, death in walk(process, lambda number: Pod(process.url, number, pods[number - 1]), Pod.send):
            deaths.append(death)
            for name, data in pod.files.items():
                for path in (root / "spool" / f"{pod.number:08d}").glob(f"*/files/{name}"):
                    assert path.read_bytes() == data, "half a file"
            process.start()
            pod.send()
            assert pod.finish()["outcome"] == "succeeded"
            assert pod.packages.items() <= listed(root / REPO).items()
    clean(root)
    assert steps(deaths, r"\.rpm") == WRITTEN - {WriteStep.STORED}, "the directory is synced when the file is stored"
    assert steps(deaths, r"step\.json") == WRITTEN


def test_killed_at_every_step_of_a_user_s_upload(tmp_path: Path) -> None:
    """What has a record is whole; what has none is nobody's, and goes."""
    root, data = tmp_path / "store", b"Name: hello\n" * 100
    deaths = []
    with backend(root) as process:

        def send(_number: int) -> None:
            params = {"namespace": NAMESPACE, "filename": "hello.spec"}
            answer = httpx.post(f"{process.url}/uploads", params=params, content=data, headers=bearer("user-token"))
            assert answer.json()["sha256"] == hashlib.sha256(data).hexdigest()

        for number, death in walk(process, int, send):
            deaths.append(death)
            for record in (root / "uploads").glob("*.json"):
                assert (root / "uploads" / record.stem / "hello.spec").read_bytes() == data
            process.start()
            send(number)
    assert steps(deaths, r"spool/uploads/[^/]+") == WRITTEN - {WriteStep.STORED}
    assert steps(deaths, r"/hello\.spec") == WRITTEN
    assert steps(deaths, r"\.json") == WRITTEN


@pytest.mark.timeout(600)
def test_killed_at_every_step_of_storing_and_publishing_a_build(tmp_path: Path) -> None:
    pods, root = tokens(tmp_path), tmp_path / "store"
    deaths: list[Death] = []
    seen = []
    with backend(root) as process:
        before: dict[str, str] = {}

        def prepare(number: int) -> Pod:
            """After an undisturbed publication: nothing is left of the killed one, and the steps are the same again."""
            before.update(sent(process, pods, 2 * number - 1).packages)
            return sent(process, pods, 2 * number, end=False)

        for pod, death in walk(process, prepare, check_ends):
            deaths.append(death)
            now = listed(root / REPO)
            assert now in (before, before | pod.packages)
            whole(root)
            seen.append(now == before)
            process.start()
            check_ends(pod)  # asking again is all it takes
            before |= pod.packages
            assert listed(root / REPO) == before
    clean(root)
    print(f"\n{len(deaths)} kills while a build was stored and published; {sum(seen)} before, the rest after the swap")
    for path in (r"\.rpm", r"results\.json", r"-primary\.xml\.gz", r"-filelists\.xml\.gz", r"-other\.xml\.gz",
                 r"index-[0-9a-f]+", r"repodata/repomd\.xml", r"/success", r"finished\.json"):  # fmt: skip
        assert steps(deaths, path) >= WRITTEN, path
    assert steps(deaths, r"index-[0-9a-f]+") == WRITTEN | DELETED, "the old index goes"
    assert {True, False} <= set(seen)


def sent(process: Backend, pods: list[str], number: int, *, end: bool = True) -> Pod:
    """The pod of that build, when it has sent everything, and has been heard if it should come to its `end`."""
    pod = Pod(process.url, number, pods[number - 1])
    pod.send()
    if end:
        check_ends(pod)
    return pod


def check_ends(pod: Pod) -> None:
    assert pod.finish()["outcome"] == "succeeded"


@pytest.mark.timeout(600)
def test_killed_at_every_step_of_a_removal(tmp_path: Path) -> None:
    """Until the last file is gone: at any time the build is listed and there, or not listed."""
    pods, root = tokens(tmp_path), tmp_path / "store"
    deaths = []
    with backend(root, removal_grace=0, sweep_interval=0.05) as process:
        keep = sent(process, pods, BUILDS)
        remove(process, sent(process, pods, BUILDS - 1).number)  # the highest id of what was removed is written once

        def remove_all(pod: Pod) -> None:
            remove(process, pod.number)
            while list((root / "state/trash").glob("*.json")):
                if process.ended_within(0.02):
                    raise httpx.ReadError("it was killed while it deleted the files")

        def act(pod: Pod) -> None:
            remove_all(pod)
            if process.ended_within(2):  # the last step is when the last file has gone
                raise httpx.ReadError("it was killed when it had deleted the files")

        for pod, death in walk(process, lambda number: sent(process, pods, number), act):
            deaths.append(death)
            assert listed(root / REPO) in (keep.packages | pod.packages, keep.packages)
            whole(root)
            process.start()
            remove_all(pod)
            assert listed(root / REPO) == keep.packages
            assert not list((root / REPO).glob(f"{pod.number:08d}-*"))
    clean(root)
    print(f"\n{len(deaths)} kills during a removal")
    for path in (r"trash/[0-9a-f]+\.json", r"-primary\.xml\.gz", r"index-[0-9a-f]+", r"repodata/repomd\.xml"):
        assert steps(deaths, path) >= WRITTEN, path
    for path in (r"trash/[0-9a-f]+\.json", r"/0[0-9]+-p[0-9]+"):
        assert steps(deaths, path) >= DELETED, path


def remove(process: Backend, number: int) -> None:
    answer = httpx.post(
        f"{process.url}/control/v1/builds/{number}/remove",
        json={"owner": "alice", "dirname": "demo"},
        headers=bearer(CONTROLLER_TOKEN),
        timeout=30,
    )
    assert answer.json()["ready"], answer.text


class Reader:
    """Reads the repository over HTTP again and again, as dnf does: repomd.xml, then what it names, then packages."""

    def __init__(self, url: str, place: Path) -> None:
        self._client = httpx.AsyncClient(base_url=f"{url}/{REPO}/", timeout=30)
        self._place = place
        self.whole = 0
        self.sizes: set[int] = set()

    async def read_forever(self) -> None:
        async with self._client:
            while True:
                try:
                    await self._read()
                except httpx.TransportError:
                    await asyncio.sleep(0.01)  # it is being restarted

    async def _read(self) -> None:
        repomd = await self._get("repodata/repomd.xml")
        paths = []
        for href, checksum in re.findall(r'<location href="([^"]+?([0-9a-f]{64})[^"]+)"', repomd.decode()):
            data = await self._get(href)
            assert hashlib.sha256(data).hexdigest() == checksum
            paths.append(self._place / href.rpartition("-")[2])
            paths[-1].write_bytes(data)
        packages = packages_of(*paths)
        for href in random.sample(sorted(packages), min(3, len(packages))):
            assert hashlib.sha256(await self._get(href)).hexdigest() == packages[href]
        self.whole += 1
        self.sizes.add(len(packages))

    async def _get(self, path: str) -> bytes:
        answer = await self._client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        return answer.content


async def test_a_reader_sees_a_whole_repository_at_any_instant_while_builds_publish_and_the_backend_is_killed(
    tmp_path: Path,
) -> None:
    pods = tokens(tmp_path)
    root = tmp_path / "store"
    place = tmp_path / "reader"
    place.mkdir()
    chance = random.Random(20260101)  # noqa: S311 (when to kill)
    with backend(root) as process:
        first = Pod(process.url, 1, pods[0])
        first.send()
        first.finish()
        reader = Reader(process.url, place)
        reading = asyncio.create_task(reader.read_forever())
        done = asyncio.Event()

        async def deliver(number: int) -> None:
            pod = Pod(process.url, number, pods[number - 1])
            while True:
                try:
                    await asyncio.to_thread(pod.send)
                    await asyncio.to_thread(pod.finish)
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)

        async def kill_now_and_then() -> int:
            kills = 0
            while not done.is_set():
                # Longer each time: on a slow machine nothing would ever be delivered between two kills.
                await asyncio.sleep(chance.uniform(0.05, 0.6) * (1 + kills / 10))
                await asyncio.to_thread(process.kill)
                kills += 1
                await asyncio.to_thread(process.start)
            return kills

        killing = asyncio.create_task(kill_now_and_then())
        for start in range(2, 41, 4):
            await asyncio.gather(*(deliver(number) for number in range(start, start + 4)))
            await asyncio.sleep(0.1)
        done.set()
        kills = await killing
        expected = 40 * 2 + 2
        while max(reader.sizes) < expected and not reading.done():
            await asyncio.sleep(0.05)
        assert not reading.done(), reading.exception()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        print(f"\n{reader.whole} whole reads during {kills} kills; sizes seen {sorted(reader.sizes)}")
        assert kills >= 3
        assert reader.whole >= 10
        assert len(listed(root / REPO)) == expected


async def test_fifty_builds_that_finish_at_once_make_at_most_two_metadata_runs_in_a_real_backend(
    tmp_path: Path,
) -> None:
    pods = tokens(tmp_path)
    root = tmp_path / "store"
    with backend(root) as process:
        brought = [Pod(process.url, number, pods[number - 1]) for number in range(1, 51)]
        for pod in brought:
            pod.send()
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=50)) as client:
            answers = await asyncio.gather(
                *(
                    client.post(f"{process.url}/agent/v1/finish", content=pod.request(), headers=pod.headers)
                    for pod in brought
                )
            )
            metrics = (await client.get(f"{process.url}/metrics")).text
        assert [answer.json()["outcome"] for answer in answers] == ["succeeded"] * 50
        runs = re.search(r'publications_total{outcome="published"} ([0-9.]+)', metrics)
        assert runs is not None
        print(f"\n50 builds at once: {runs[1]} metadata runs")
        assert float(runs[1]) <= 2
        assert len(listed(root / REPO)) == 100
