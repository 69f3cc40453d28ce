"""A real backend process, killed by SIGKILL: no reader ever sees half a repository, and nothing has to be mended."""

import asyncio
import hashlib
import random
import re
from pathlib import Path

import httpx

from copr_operator.core.wire import FinishRequest
from tests.integration.backend.process import Backend, backend
from tests.integration.backend.server import BUILDS, populate
from tests.unit.backend.world import CHROOT, CONTROLLER_TOKEN, World, bearer, listed, packages_of, results

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


def test_killed_at_every_step_of_storing_and_publishing_a_build(tmp_path: Path) -> None:
    pods = tokens(tmp_path)
    root = tmp_path / "store"
    with backend(root) as process:
        first = Pod(process.url, 1, pods[0])
        first.send()
        first.finish()
        before = listed(root / REPO)
        assert before == first.packages
        kills = 0
        number = 1
        seen = []
        while True:
            number += 1
            pod = Pod(process.url, number, pods[number - 1])
            pod.send()
            process.kill()
            process.start(kill_at=kills + 1)
            (root / "count").touch()
            try:
                pod.finish()
            except httpx.TransportError:
                kills += 1
                process.wait()
                (root / "count").unlink()
                now = listed(root / REPO)
                assert now in (before, before | pod.packages)
                seen.append(now == before)
                process.start()
                assert pod.finish()["outcome"] == "succeeded", "asking again is all it takes"
                before |= pod.packages
                assert listed(root / REPO) == before
            else:
                break
    clean(root)
    print(f"\n{kills} kills while a build was stored and published; {sum(seen)} before, the rest after the swap")
    # 2 RPMs, results.json, 4 metadata and index files, repomd.xml and success at 4 checkpoints each; deletions at 2
    assert kills >= 36 + 2
    assert {True, False} <= set(seen)


def test_killed_at_every_step_of_a_removal(tmp_path: Path) -> None:
    pods = tokens(tmp_path)
    root = tmp_path / "store"
    with backend(root) as process:
        number = kills = 0
        expected: dict[str, str] = {}
        keep = Pod(process.url, BUILDS, pods[BUILDS - 1])
        keep.send()
        keep.finish()
        while True:
            number += 1
            pod = Pod(process.url, number, pods[number - 1])
            pod.send()
            pod.finish()
            expected = keep.packages
            both = expected | pod.packages
            process.kill()
            process.start(kill_at=kills + 1)
            (root / "count").touch()
            try:
                remove(process, number)
            except httpx.TransportError:
                kills += 1
                process.wait()
                (root / "count").unlink()
                assert listed(root / REPO) in (both, expected)
                process.start()
                remove(process, number)
                assert listed(root / REPO) == expected
            else:
                break
    clean(root)
    print(f"\n{kills} kills during a removal")
    assert kills >= 5 * 4 + 4, "index, 3 metadata files and repomd.xml, and the trash entry"


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
                await asyncio.sleep(chance.uniform(0.05, 0.6))
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
