"""A real backend process before the real API server, and pods that bring it results as the real agents do."""

import asyncio
import contextlib
import hashlib
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from copr_operator.core import names
from copr_operator.core.wire import CustomSource, FinishRequest, StepPlan, StepSummary, UploadSource
from copr_operator.kube import paths
from copr_operator.kube.client import KubeClient
from tests.integration.backend.process import REPOSITORY, free_port
from tests.support.fake_kubelet import Status, ended, plan_of
from tests.support.world import World, eventually
from tests.unit.backend import rpms

CONTROLLER = "copr-controller"
FRONTEND = "copr-frontend"


@dataclass
class RealBackend:
    """The process, and the tokens that its clients show it."""

    url: str
    root: Path
    controller_token: Path
    frontend_token: Path


@contextlib.asynccontextmanager
async def real_backend(
    world: World, kubeconfig: Path, directory: Path, frontend_url: str = ""
) -> AsyncIterator[RealBackend]:
    """Starts `copr-operator backend`; its users are ServiceAccounts of the world's namespace."""
    audience = names.TOKEN_AUDIENCE
    controller = await account_token(world.kube, world.namespace, await _account(world, CONTROLLER), audience)
    frontend = await account_token(world.kube, world.namespace, await _account(world, FRONTEND), audience)
    await _allow_builds(world, FRONTEND)
    root, port = directory / "store", free_port()
    backend = RealBackend(f"http://127.0.0.1:{port}", root, directory / "controller.token", directory / "token")
    backend.controller_token.write_text(controller)
    backend.frontend_token.write_text(frontend)
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": str(REPOSITORY / "operator"),
        "COPR_BACKEND_HOST": "127.0.0.1",
        "COPR_BACKEND_MIN_FREE_BYTES": "0",
        "COPR_BACKEND_FRONTEND_URL": frontend_url,
        "COPR_BACKEND_CONTROLLER": f"system:serviceaccount:{world.namespace}:{CONTROLLER}",
    }
    command = [sys.executable, "-m", "copr_operator", "backend", "--root", str(root), "--port", str(port)]
    root.mkdir()
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stderr=subprocess.PIPE, cwd=str(REPOSITORY)
    )
    try:
        async with httpx.AsyncClient(base_url=backend.url) as http:

            async def ready() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await http.get("/readyz")).status_code == 200
                return False

            await eventually(ready, lambda: "the backend does not start")
        yield backend
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _account(world: World, name: str) -> str:
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    await world.kube.create(paths.core("serviceaccounts", world.namespace), body)
    return name


async def _allow_builds(world: World, account: str) -> None:
    """`account` may create builds in the world's namespace, and so send uploads for them, and read their results."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{world.namespace}"
    meta = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": account}}
    rule = {"apiGroups": [names.GROUP], "resources": ["coprbuilds"], "verbs": ["create", "get"]}
    await world.kube.create(f"{rbac}/roles", {**meta, "kind": "Role", "rules": [rule]})
    binding = {
        **meta,
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": world.namespace}],
    }
    await world.kube.create(f"{rbac}/rolebindings", binding)


async def account_token(
    kube: KubeClient, namespace: str, account: str, audience: str | None = None, pod: Mapping[str, Any] | None = None
) -> str:
    """A ServiceAccount's token, for the API server unless there is an `audience`; with `pod` one that is bound to it,
    as the kubelet projects it."""
    spec: dict[str, Any] = {"audiences": [audience] if audience else [], "expirationSeconds": 3600}
    if pod is not None:
        metadata = pod["metadata"]
        spec["boundObjectRef"] = {
            "apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"],
        }  # fmt: skip
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    answer = await kube.create(f"{paths.core('serviceaccounts', namespace, account)}/token", body)
    token: str = answer["status"]["token"]
    return token


@dataclass
class DeliveringPods:
    """Pods that really deliver: set `behaviour` as the fake kubelet's. What they brought is in `uploads`."""

    world: World
    backend_url: str
    verify: ssl.SSLContext | bool = True
    package: str = "hello"
    version: str = "2.8"
    release: str = "1"
    uploads: list[bytes] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def behaviour(self, pod: dict[str, Any]) -> Status | None:
        uid = pod["metadata"]["uid"]
        if uid not in self._seen:
            self._seen.add(uid)
            task = asyncio.create_task(self._run(pod))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return None

    async def _run(self, pod: dict[str, Any]) -> None:
        path = paths.core("pods", self.world.namespace, pod["metadata"]["name"])
        try:
            status = ended(pod, 0, await self._deliver(pod))
            await self.world.kube.patch(f"{path}/status", {"status": status})
        except Exception as error:
            # A cancel or a removal ends a pod wherever it is; what it did then is nobody's error.
            if await self._still_wanted(pod, path):
                self.errors.append(repr(error))

    async def _still_wanted(self, pod: dict[str, Any], path: str) -> bool:
        found = await self.world.kube.find(path)
        if found is None or found["metadata"]["uid"] != pod["metadata"]["uid"]:
            return False
        return "deletionTimestamp" not in found["metadata"]

    async def _deliver(self, pod: dict[str, Any]) -> StepSummary:
        plan = plan_of(pod)
        token = await account_token(self.world.kube, self.world.namespace, "default", names.TOKEN_AUDIENCE, pod)
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            base_url=self.backend_url, headers=headers, timeout=30, verify=self.verify
        ) as http:
            files = await self._files(plan, http)
            log = await http.patch(f"/agent/v1/log/{names.LIVE_LOG}", params={"offset": 0}, content=b"building\n")
            log.raise_for_status()
            for name, data in files.items():
                sent = {"X-Content-SHA256": hashlib.sha256(data).hexdigest()}
                (await http.put(f"/agent/v1/files/{name}", content=data, headers=sent)).raise_for_status()
            listed = [{"name": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()]
            request = FinishRequest.model_validate({"outcome": "succeeded", "files": listed})
            answer = await http.post("/agent/v1/finish", content=request.model_dump_json())
            answer.raise_for_status()
            return StepSummary.model_validate_json(answer.content)

    async def _files(self, plan: StepPlan, http: httpx.AsyncClient) -> dict[str, bytes]:
        """What the step makes: an SRPM, or that and a package."""
        sent = plan.source.payload if isinstance(plan.source, CustomSource) else plan.source
        if isinstance(sent, UploadSource):
            fetched = await http.get(f"/agent/v1/upload/{sent.ref}")
            fetched.raise_for_status()
            self.uploads.append(fetched.content)
        arches = ["src"] if plan.step == "source" else ["src", "x86_64"]
        return {
            rpms.file_name(self.package, self.version, self.release, arch): rpms.rpm(
                self.package, self.version, self.release, arch
            )
            for arch in arches
        }
