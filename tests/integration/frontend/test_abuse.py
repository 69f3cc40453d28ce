"""Load and abuse: many creates at once, bodies that never end or end too early, paths that lead elsewhere."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from copr_operator.kube import paths
from tests.cluster import api as clusters
from tests.integration.backend.process import REPOSITORY
from tests.integration.frontend.conftest import Whole
from tests.integration.frontend.test_endpoints import Stage, is_error
from tests.integration.frontend.test_process import admin, kubeconfig, login, replica
from tests.support.endpoints import ENDPOINTS, Endpoint
from tests.support.frontend import Site
from tests.support.world import CHROOTS, World, eventually
from tests.unit.backend import rpms

__all__ = ["kubeconfig"]

MANY = int(os.environ.get("COPR_CREATES", "200"))
"""Creates at once; 1000 take a minute and a half."""
BODIES = [row for row in ENDPOINTS if row.body is not None and not row.files]
TRAVERSALS = (
    "..",
    ".",
    "../../etc/passwd",
    "..%2f..%2fetc",
    "%2e%2e",
    "/etc",
    "a/../b",
    "..\\..\\x",
    "\x00",
    "-x",
    "~root",
)
NAMES = ("ownername", "projectname", "owner", "dirname", "group", "chrootname", "package_name", "package", "release",
         "file", "task", "id", "build_id", "forge", "secret", "source_type", "who")  # fmt: skip


@pytest.fixture
async def stage(site: Site) -> Stage:
    made = Stage(site)
    await made.prepare()
    return made


@contextlib.asynccontextmanager
async def controller_process(here: World, cluster: clusters.Cluster, token: Path) -> AsyncIterator[None]:
    """`copr-operator controller`: beside the creates in one process it would not get around to renewing its Lease."""
    arguments = [
        *("--kubeconfig", str(cluster.kubeconfig), "--namespace", here.namespace, "--watch", here.namespace),
        *("--operator-image", "operator:test", "--source-image", "source:test", "--backend-url", here.backend.url),
        *("--backend-token-file", str(token), "--http-port", "0"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "operator")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "copr_operator", "controller", *arguments, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        yield
        assert process.returncode is None, "the controller has ended"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.mark.timeout(600)
async def test_many_creates_at_once_bring_as_many_builds_with_ids_of_their_own(
    here: World, cluster: clusters.Cluster, kubeconfig: Path, tmp_path: Path
) -> None:
    """Through two replicas. The chroots are disabled: the builds wait, and no pod is in the way."""
    limits = httpx.Limits(max_connections=200)
    async with (
        controller_process(here, cluster, tmp_path / "token"),
        replica(here, kubeconfig) as one,
        replica(here, kubeconfig) as two,
    ):
        auth = login(await admin(here, cluster, str(one.http.base_url), tmp_path))
        body: dict[str, Any] = {"name": "demo", "chroots": list(CHROOTS)}
        assert (await one.http.post("/api_3/project/add/alice", json=body, auth=auth)).status_code == 200
        for chroot in (await here.kube.get(paths.copr("coprchroots", here.namespace)))["items"]:
            path = paths.copr("coprchroots", here.namespace, chroot["metadata"]["name"])
            await here.kube.patch(path, {"spec": {"enabled": False}})
        async with httpx.AsyncClient(timeout=500, limits=limits, auth=auth) as http:

            async def create(number: int) -> httpx.Response:
                url = (one, two)[number % 2].http.base_url
                wanted = {"ownername": "alice", "projectname": "demo", "pkgs": f"https://x.example/{number}.spec"}
                return await http.post(f"{url}/api_3/build/create/url", json=wanted)

            answers = await asyncio.gather(*(create(number) for number in range(MANY)))
        assert Counter(answer.status_code for answer in answers) == {200: MANY}
        told = {answer.json()["items"][0]["id"]: number for number, answer in enumerate(answers)}
        assert len(told) == MANY, "no id was told twice"
        objects = (await here.kube.get(paths.copr("coprbuilds", here.namespace)))["items"]
        held = {obj["status"]["id"]: obj["spec"]["source"]["link"]["url"] for obj in objects}
        assert held == {number: f"https://x.example/{wanted}.spec" for number, wanted in told.items()}
        assert len(objects) == MANY
        listed: list[int] = []

        async def all_listed() -> bool:
            nonlocal listed
            answer = await two.http.get("/api_3/build/list?ownername=alice&projectname=demo&limit=5000")
            listed = [build["id"] for build in answer.json()["items"]]
            return listed == sorted(told, reverse=True)

        await eventually(all_listed, lambda: f"a replica lists other builds than there are: {listed}")


async def raw(site: Site, row: Endpoint, body: bytes, announced: int, *, close: bool) -> bytes:
    """The answer to a request whose body stops before its announced end; `close`: and whose client goes away."""
    host, port = urlsplit(site.url).netloc.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    auth = httpx.BasicAuth(*site.people["alice"].auth)
    login = next(auth.auth_flow(httpx.Request("GET", site.url))).headers
    query = str(httpx.QueryParams(dict(row.query)))
    head = (
        f"{row.method} {row.path}{'?' if query else ''}{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: {login['Authorization']}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {announced}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    if close:
        writer.close()
        await writer.wait_closed()
        return b""
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    return answer


def objects_of(site: Site) -> tuple[int, int]:
    """How many builds and projects there are."""
    return len(site.services.cache.builds), len(site.services.cache.projects())


async def test_a_body_that_stops_is_not_waited_for_and_changes_nothing(stage: Stage) -> None:
    site = stage.site
    rows = [await stage.fill(row) for row in BODIES if row.right != "secret"]
    before = objects_of(site)
    site.services.limits = replace(site.services.limits, silence=0.3)
    bodies = [json.dumps(row.body).encode() for row in rows]
    answers = await asyncio.gather(
        *(raw(site, row, body, len(body) + 10, close=False) for row, body in zip(rows, bodies, strict=True))
    )
    for row, answer in zip(rows, answers, strict=True):
        assert answer.startswith(b"HTTP/1.1 408 "), (row.path, answer)
    await asyncio.gather(
        *(raw(site, row, body[:-1], len(body), close=True) for row, body in zip(rows, bodies, strict=True))
    )
    assert (await site.http.get("/healthz")).status_code == 200
    assert objects_of(site) == before


async def test_a_body_that_is_too_large_is_refused_by_every_endpoint(stage: Stage) -> None:
    big = b'{"x": "' + b"y" * (1024**2) + b'"}'
    rows = [(row, await stage.fill(row)) for row in BODIES if row.right != "secret"]  # events may be larger
    before = objects_of(stage.site)
    for row, ready in rows:
        try:
            answer = await stage.site.http.request(
                row.method, ready.path, params=dict(ready.query), content=big, auth=stage.alice.auth,
                headers={"Content-Type": "application/json", **row.headers},
            )  # fmt: skip
        except httpx.TransportError:
            continue  # it hung up before all was sent: that is refused as well
        assert answer.status_code == 413, (row.path, answer.text[:200])
    assert objects_of(stage.site) == before


async def test_a_file_is_taken_by_those_endpoints_only_that_need_one(stage: Stage, tmp_path: Path) -> None:
    """Each other one refuses it while it comes, without a place on the disk for it."""
    others = [row for row in BODIES if row.right != "secret" and not row.path.startswith("/api_3/project-chroot/edit")]
    rows = [(row, await stage.fill(row)) for row in others]
    before = objects_of(stage.site)
    stage.site.services.limits = replace(stage.site.services.limits, spool=tmp_path / "absent")
    for row, ready in rows:
        fields = ("json", json.dumps(ready.body).encode(), "application/json")
        answer = await stage.site.http.request(
            row.method, ready.path, params=dict(ready.query), auth=stage.alice.auth, headers=row.headers,
            files={"pkgs": ("x.src.rpm", b"x" * 1000, "application/x-rpm"), "json": fields},
        )  # fmt: skip
        assert answer.status_code in (400, 415), (row.path, answer.text[:200])
        assert is_error(answer), (row.path, answer.text[:200])
    assert objects_of(stage.site) == before


async def test_no_name_in_a_path_leads_elsewhere(stage: Stage) -> None:
    """Each parameter of each path, and each name in each query and body, one after the other."""
    wrong: list[str] = []
    # The backend has such a test of its own for what is below /results.
    rows = [row for row in ENDPOINTS if row.right != "secret" and not row.path.startswith("/results")]
    filled = [(row, await stage.fill(row)) for row in rows]
    before = objects_of(stage.site)

    async def ask(row: Endpoint, name: str, text: str) -> None:
        answer = await stage.send(row, stage.sender(row))
        fine = answer.status_code in (400, 403, 404, 405)
        if answer.status_code == 200:
            # Of no consequence: whoever is asked about, and the release, which dnf's plugin looks for by itself.
            fine = name.strip("{}") in ("who", "release", "file")
            # As for any owner or build that is not there.
            fine = fine or answer.json().get("items") == []
        if not fine or (answer.status_code >= 400 and not is_error(answer)):
            wrong.append(f"{row.method} {row.path} {name}={text!r}: {answer.status_code} {answer.text[:200]}")

    for row, ready in filled:
        parts, shown = row.path.split("/"), ready.path.split("/")
        for text in TRAVERSALS:
            quoted = _quoted(text)
            for position, part in enumerate(parts):
                if part.strip("{}") in NAMES and part.startswith("{"):
                    path = "/".join([*shown[:position], quoted, *shown[position + 1 :]])
                    await ask(replace(ready, path=path), part, text)
            for name in NAMES:
                if name in ready.query:
                    await ask(replace(ready, query={**ready.query, name: text}), name, text)
                if name in (ready.body or {}) and not row.files:
                    await ask(replace(ready, body={**(ready.body or {}), name: text}), name, text)
    assert not wrong, "\n".join(wrong[:10])
    assert objects_of(stage.site) == before


def _quoted(text: str) -> str:
    """Percent-encoded all over, so that no client tidies it up."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


async def test_no_name_of_an_uploaded_file_leads_elsewhere(whole: Whole) -> None:
    """A path's last part is the name, as with Copr; what can be no name is refused."""
    stage = Stage(whole.site)
    await stage.prepare()
    fields = ("json", b'{"ownername": "alice", "projectname": "demo"}', "application/json")
    data = rpms.rpm("hello", "2.8", "1", "src")
    for name, kept in {
        "../../x.src.rpm": True, "..\\x.src.rpm": True, "/etc/x.src.rpm": True, "a/../x.src.rpm": True,
        ".x.src.rpm": False, "x\x00.src.rpm": False, "..": False, "../.src.rpm": False, "%2e%2e%2fx.src.rpm": False,
    }.items():  # fmt: skip
        files = {"pkgs": (name, data, "application/x-rpm"), "json": fields}
        answer = await stage.site.api("POST", "/build/create/upload", stage.alice, files=files)
        assert answer.status_code == (200 if kept else 400), (name, answer.text)
        if kept:
            key, _, last = (await stage.site.spec_of(answer.json()["id"]))["source"]["upload"]["ref"].partition("/")
            assert last in ("x.src.rpm", "..x.src.rpm"), name
            assert (whole.backend.root / "uploads" / key / last).read_bytes() == data
    found = {file.parent.parent for file in whole.backend.root.rglob("*x.src.rpm")}
    assert found == {whole.backend.root / "uploads"}
