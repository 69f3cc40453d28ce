"""A backend without a cluster: a pretended API server, a store in a directory, requests without a network."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from copr_operator.backend.app import make_app
from copr_operator.backend.errors import RefusedError
from copr_operator.backend.inspector import RpmFile
from copr_operator.backend.repository import Step
from copr_operator.backend.rpmheader import HeaderError
from copr_operator.backend.rpmworker import read_rpm
from copr_operator.backend.services import Services
from copr_operator.backend.settings import BackendSettings
from copr_operator.backend.store import DirectoryStore
from copr_operator.core import names
from copr_operator.core.wire import FinishRequest
from copr_operator.kube.client import ApiError
from tests.unit.backend import rpms

CHROOT = "fedora-43-x86_64"
CONTROLLER = "system:serviceaccount:copr-operator:copr-operator-controller"
CONTROLLER_TOKEN = "controller-token"
NAMESPACE = "alice-builds"


class FakeKube:
    """Objects by path, users by token. Counts what it is asked."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.users: dict[str, dict[str, Any]] = {CONTROLLER_TOKEN: {"username": CONTROLLER}}
        self.allowed: set[tuple[str, str]] = set()
        self.readers: set[tuple[str, str]] = set()
        """Users and namespaces: who may create CoprBuilds where, and who may get them."""
        self.requests: list[str] = []
        self.down = False
        self.ignores_audiences = False

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        self._ask(path)
        if path.endswith("/coprprojects"):
            return {"items": [item for key, item in self.objects.items() if key.startswith(f"{path}/")]}
        if path not in self.objects:
            raise ApiError(404, "NotFound", path)
        return self.objects[path]

    async def create(
        self, path: str, body: Mapping[str, Any], params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        self._ask(path)
        spec = body["spec"]
        if body["kind"] == "TokenReview":
            user = self.users.get(spec["token"])
            if self.ignores_audiences:
                return {"status": {"authenticated": user is not None, "user": user}}
            audiences = (user or {}).get("audiences", spec["audiences"])
            known = user is not None and bool(set(audiences) & set(spec["audiences"]))
            return {"status": {"authenticated": known, "user": user, "audiences": audiences if known else []}}
        attributes = spec["resourceAttributes"]
        assert attributes["resource"] == "coprbuilds"
        allowed = {"create": self.allowed, "get": self.readers}[attributes["verb"]]
        return {"status": {"allowed": (spec["user"], attributes["namespace"]) in allowed}}

    def _ask(self, path: str) -> None:
        self.requests.append(path)
        if self.down:
            raise ApiError(0, "NoAnswer", "connection refused")


class LocalInspector:
    """Reads RPMs in this process; counts which."""

    def __init__(self) -> None:
        self.read: list[str] = []

    async def inspect(self, path: Path, href: str) -> RpmFile:
        self.read.append(href)
        await asyncio.sleep(0)
        try:
            return RpmFile.model_validate(read_rpm(str(path), href, 2**26))
        except HeaderError as error:
            raise RefusedError("ResultsRefused", f"{href.rpartition('/')[2]}: {error}") from None


class Clock:
    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class World:
    """One backend and what surrounds it. `start()` before use; `restart()` is a new process on the same store."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root
        self.kube = FakeKube()
        self.clock = Clock()
        self.inspector = LocalInspector()
        self.settings = BackendSettings(root=root, min_free_bytes=0, **settings)
        self.steps: list[Step] = []
        self.add_project("alice", "demo")

    async def start(self, store: DirectoryStore | None = None) -> "World":
        self.services = Services(
            self.settings, self.kube, store=store, inspector=self.inspector, clock=self.clock,
            checkpoint=self.steps.append,
        )  # fmt: skip
        await self.services.start()
        transport = httpx.ASGITransport(make_app(self.services))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://backend")
        return self

    async def restart(self, store: DirectoryStore | None = None) -> None:
        await self.close()
        await self.start(store)

    async def close(self) -> None:
        await self.http.aclose()
        await self.services.close()

    @property
    def runs(self) -> int:
        """Metadata runs so far."""
        return self.steps.count(Step.REPOMD_REPLACED)

    # -- the cluster ---------------------------------------------------------------------------------------------

    def add_project(self, owner: str, name: str, namespace: str = NAMESPACE, held: bool = True) -> None:
        path = f"/apis/copr-operator.dev/v1alpha1/namespaces/{namespace}/coprprojects/{owner.strip('@')}-{name}"
        self.kube.objects[path] = {
            "spec": {"owner": owner, "name": name},
            "status": {"conditions": [{"type": "NameHeld", "status": "True" if held else "False"}]},
        }

    def add_build(self, build_id: int, *, package: str | None = "hello", version: str = "1.0-1",
                  namespace: str = NAMESPACE, **spec: Any) -> dict[str, Any]:  # fmt: skip
        """A CoprBuild; `package` None: its source step has not ended."""
        status: dict[str, Any] = {"id": build_id, "state": "running", "chroots": [{"name": CHROOT, "state": "running"}]}
        if package is not None:
            status["source"] = {
                "state": "succeeded",
                "package": {"name": package, "version": version},
                "srpm": {"url": "http://x/y.src.rpm", "sha256": "0" * 64},
            }
        build = {
            "metadata": {"name": f"build-{build_id}", "uid": f"{build_id:08d}-aaaa-bbbb-cccc-dddddddddddd"},
            "spec": {
                "owner": "alice",
                "project": "demo",
                "source": {"type": "link", "link": {"url": "http://x/y.spec"}},
            }
            | spec,
            "status": status,
        }
        self.kube.objects[build_path(build_id, namespace)] = build
        return build

    def add_pod(self, build_id: int, step: str, attempt: int = 1, namespace: str = NAMESPACE) -> str:
        """The Job and pod of a step; the pod's token."""
        build = self.kube.objects[build_path(build_id, namespace)]
        job = names.job_name(build["metadata"]["uid"], step, attempt)
        pod = f"{job}-x"
        self.kube.objects[f"/apis/batch/v1/namespaces/{namespace}/jobs/{job}"] = {
            "metadata": {"name": job, "uid": f"uid-{job}", "ownerReferences": [
                {"apiVersion": names.API_VERSION, "kind": "CoprBuild", "controller": True, **build["metadata"]}
            ]},
        }  # fmt: skip
        self.kube.objects[f"/api/v1/namespaces/{namespace}/pods/{pod}"] = {
            "metadata": {"name": pod, "uid": f"uid-{pod}", "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": f"uid-{job}", "controller": True}
            ]},
        }  # fmt: skip
        return self.add_token(pod, f"uid-{pod}", namespace)

    def add_token(self, pod: str, pod_uid: str, namespace: str = NAMESPACE) -> str:
        token = f"token-of-{pod}-{pod_uid}"
        self.kube.users[token] = {
            "username": f"system:serviceaccount:{namespace}:default",
            "extra": {
                "authentication.kubernetes.io/pod-name": [pod],
                "authentication.kubernetes.io/pod-uid": [pod_uid],
            },
        }
        return token

    # -- requests ------------------------------------------------------------------------------------------------

    async def put(self, token: str, name: str, data: bytes, sha256: str | None = None) -> httpx.Response:
        headers = bearer(token) | {"X-Content-SHA256": sha256 or hashlib.sha256(data).hexdigest()}
        return await self.http.put(f"/agent/v1/files/{name}", content=data, headers=headers)

    async def append(self, token: str, data: bytes, offset: int, name: str = names.LIVE_LOG) -> httpx.Response:
        params = {"offset": offset}
        return await self.http.patch(f"/agent/v1/log/{name}", params=params, content=data, headers=bearer(token))

    async def finish(
        self, token: str, files: Mapping[str, bytes] | None = None, outcome: str = "succeeded"
    ) -> httpx.Response:
        listed = [
            {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            for name, data in (files or {}).items()
        ]
        body = FinishRequest.model_validate({"outcome": outcome, "files": listed}).model_dump_json()
        return await self.http.post("/agent/v1/finish", content=body, headers=bearer(token))

    async def send(self, token: str, files: Mapping[str, bytes], log: bytes = b"") -> httpx.Response:
        """All of a successful step."""
        if log:
            assert (await self.append(token, log, 0)).status_code == 200
        for name, data in files.items():
            response = await self.put(token, name, data)
            assert response.status_code == 200, response.text
        return await self.finish(token, files)

    async def build(self, build_id: int, package: str = "hello", **more: Any) -> dict[str, Any]:
        """A whole chroot step of a new build; its StepSummary."""
        self.add_build(build_id, package=package, **more)
        response = await self.send(self.add_pod(build_id, CHROOT), results(package), log=b"building\n")
        assert response.status_code == 200, response.text
        summary: dict[str, Any] = response.json()
        return summary

    async def control(self, method: str, path: str, body: Any = None) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        return await self.http.request(method, f"/control/v1/{path}", content=content, headers=bearer(CONTROLLER_TOKEN))

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(f"/results/{path}", headers=headers)

    # -- the repository as a reader sees it ----------------------------------------------------------------------

    @property
    def repo(self) -> Path:
        return self.root / "results" / "alice" / "demo" / CHROOT


def build_path(build_id: int, namespace: str = NAMESPACE) -> str:
    return f"/apis/copr-operator.dev/v1alpha1/namespaces/{namespace}/coprbuilds/build-{build_id}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def results(package: str = "hello", version: str = "1.0", release: str = "1", **more: Any) -> dict[str, bytes]:
    """Files of a successful chroot step."""
    return {
        rpms.file_name(package, version, release, arch): rpms.rpm(package, version, release, arch, **more)
        for arch in ("src", "x86_64")
    }


def listed(repo: Path) -> dict[str, str]:
    """What repomd.xml says the repository holds, checked as a client checks it: checksum by location.

    Reads every metadata file and every package, and fails when anything is missing or is not what it should be.
    """
    repomd = (repo / "repodata" / "repomd.xml").read_text()
    records = re.findall(
        r'<data type="(\w+)">\s*<checksum type="sha256">(\w+)</checksum>'
        r'.*?<location href="([^"]+)"/>.*?<size>(\d+)</size>',
        repomd,
        re.DOTALL,
    )
    assert [record[0] for record in records] == ["primary", "filelists", "other"], repomd
    for _kind, checksum, href, size in records:
        data = (repo / href).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (checksum, int(size))
    found = packages_of(*(repo / record[2] for record in records))
    for href, pkgid in found.items():
        assert hashlib.sha256((repo / href).read_bytes()).hexdigest() == pkgid, href
    return found


def packages_of(primary: Path, filelists: Path, other: Path) -> dict[str, str]:
    """pkgid by location, as createrepo_c reads the three files together; it fails on any contradiction."""
    import createrepo_c

    warnings: list[object] = []

    def warned(*what: object) -> bool:
        warnings.append(what)
        return True

    iterator = createrepo_c.PackageIterator(
        primary_path=str(primary), filelists_path=str(filelists), other_path=str(other),
        warningcb=warned,
    )  # fmt: skip
    packages = list(iterator)
    assert not warnings
    return {package.location_href: package.pkgId for package in packages}
