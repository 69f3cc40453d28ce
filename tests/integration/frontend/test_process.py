"""Real frontend processes with nothing but the rights of the manifests, in one namespace; several replicas; ends."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from copr_operator.kube import paths
from tests.cluster import api as clusters
from tests.integration.backend.process import REPOSITORY, free_port
from tests.support.world import World, eventually

ACCOUNT = "copr-operator-frontend"
URL = "http://sources.example/hello-2.8-1.src.rpm"
PROJECT = {"ownername": "alice", "projectname": "demo"}


@dataclass
class Replica:
    process: asyncio.subprocess.Process
    http: httpx.AsyncClient

    async def stop(self) -> str:
        """Ends it as Kubernetes does; what it logged."""
        self.process.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(self.process.communicate(), 45)
        assert self.process.returncode == 0, log.decode()
        return log.decode()


async def install_rights(world: World) -> None:
    """The manifests as they are, but for the namespace, which is the installation's and has the builds."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{world.namespace}"
    collections = {
        "ServiceAccount": paths.core("serviceaccounts", world.namespace),
        "Role": f"{rbac}/roles",
        "RoleBinding": f"{rbac}/rolebindings",
    }
    for file in ("base/rbac-frontend.yaml", "overlays/namespaced/rights/frontend.yaml"):
        for obj in yaml.safe_load_all((REPOSITORY / "manifests" / file).read_text()):
            for subject in obj.get("subjects", ()):
                subject["namespace"] = world.namespace
            await world.kube.create(collections[obj["kind"]], obj)


async def account_kubeconfig(world: World, cluster: clusters.Cluster, directory: Path) -> Path:
    """As the frontend's ServiceAccount."""
    path = f"{paths.core('serviceaccounts', world.namespace, ACCOUNT)}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = (await world.kube.create(path, body))["status"]["token"]
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    file = directory / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


@contextlib.asynccontextmanager
async def replica(world: World, kubeconfig: Path, patience: float = 60) -> AsyncIterator[Replica]:
    """`patience`: seconds that the controller may take for an id, or for the end of a canceled build."""
    port = free_port()
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": str(REPOSITORY / "operator"),
        "COPR_FRONTEND_HOST": "127.0.0.1",
        "COPR_FRONTEND_PORT": str(port),
        "COPR_FRONTEND_NAMESPACE": world.namespace,
        "COPR_FRONTEND_WATCH": world.namespace,
        "COPR_FRONTEND_PROJECT_NAMESPACE": world.namespace,
        "COPR_FRONTEND_BACKEND_URL": world.backend.url,
        "COPR_FRONTEND_RESULTS_URL": "https://copr.example",
        "COPR_FRONTEND_ID_TIMEOUT": str(patience),
        "COPR_FRONTEND_CANCEL_TIMEOUT": str(patience),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "copr_operator", "frontend", env=environment, stderr=subprocess.PIPE, cwd=REPOSITORY
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=90) as http:

            async def ready() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await http.get("/readyz")).status_code == 200
                assert process.returncode is None, (await process.communicate())[1].decode()
                return False

            await eventually(ready, lambda: "the frontend does not start")
            yield Replica(process, http)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
async def kubeconfig(here: World, cluster: clusters.Cluster, tmp_path: Path) -> Path:
    await here.create_chroots()
    await install_rights(here)
    return await account_kubeconfig(here, cluster, tmp_path)


async def admin(world: World, cluster: clusters.Cluster, url: str, directory: Path) -> Path:
    """~/.config/copr as `copr-operator token create` prints it."""
    command = [sys.executable, "-m", "copr_operator", "token", "create", "alice", "-n", world.namespace, "--url", url,
               "--kubeconfig", str(cluster.kubeconfig)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "operator")}
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, env=environment, check=True)
    file = directory / "copr.conf"
    file.write_text(done.stdout)
    return file


def login(config: Path) -> tuple[str, str]:
    values = dict(line.split(" = ", 1) for line in config.read_text().splitlines() if " = " in line)
    return values["login"], values["token"]


async def until_canceled(replica: Replica, number: int) -> None:
    async def probe() -> bool:
        build = (await replica.http.get(f"/api_3/build/{number}")).json()
        return build["state"] == "canceled" and build["ended_on"] is not None  # the wish alone shows as canceled

    await eventually(probe, lambda: f"a replica does not hear that build {number} has been canceled")


async def test_two_replicas_work_as_one_with_the_rights_of_the_manifest(
    here: World, cluster: clusters.Cluster, kubeconfig: Path, tmp_path: Path
) -> None:
    here.kubelet.behaviour = lambda pod: None  # no pod is ever scheduled
    async with here.controller(), replica(here, kubeconfig) as one, replica(here, kubeconfig) as two:
        config = await admin(here, cluster, str(one.http.base_url), tmp_path)
        program = Path(sys.executable).with_name("copr-cli")
        command = [str(program), "--config", str(config), "create", "demo", "--chroot", "debian-13-x86_64"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        auth = login(config)
        for first, second in ((one, two), (two, one)):
            made = await first.http.post("/api_3/build/create/url", json={**PROJECT, "pkgs": URL}, auth=auth)
            number = made.json()["items"][0]["id"]
            read = await second.http.get(f"/api_3/build/{number}")
            assert (read.status_code, read.json()["id"]) == (200, number)
            canceled = await second.http.put(f"/api_3/build/cancel/{number}", auth=auth)
            assert (canceled.status_code, canceled.json()["state"]) == (200, "canceled"), canceled.text
            await until_canceled(first, number)
        package = "/api_3/package/add/alice/demo/rails/rubygems"
        assert (await one.http.post(package, json={"gem_name": "rails"}, auth=auth)).status_code == 200
        asked = {**PROJECT, "packagename": "rails"}
        assert (await two.http.get("/api_3/package", params=asked)).json()["source_dict"] == {"gem_name": "rails"}
        renewed = (await one.http.post("/api_3/api-token", auth=auth)).json()
        assert (await two.http.get("/api_3/auth-check", auth=(renewed["api_login"], renewed["api_token"]))).json()[
            "name"
        ] == "alice"
        assert (await one.http.get("/api_3/auth-check", auth=auth)).status_code == 401, "the old token is gone"
        deleted = await two.http.request(
            "DELETE", "/api_3/project/delete/alice/demo", json={"verify": True},
            auth=(renewed["api_login"], renewed["api_token"]),
        )  # fmt: skip
        assert deleted.status_code == 200, deleted.text
        for running in (one, two):
            log = await running.stop()
            assert not [line for line in log.splitlines() if json.loads(line)["level"] == "error"], log


async def test_a_replica_that_is_told_to_stop_ends_what_it_has_begun(
    here: World, cluster: clusters.Cluster, kubeconfig: Path, tmp_path: Path
) -> None:
    async with here.controller(), replica(here, kubeconfig) as one:
        auth = login(await admin(here, cluster, str(one.http.base_url), tmp_path))
        body = {"name": "demo", "chroots": ["debian-13-x86_64"]}
        assert (await one.http.post("/api_3/project/add/alice", json=body, auth=auth)).status_code == 200
        going = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b'{"ownername": "alice", "projectname": "demo", '
            going.set()
            await asyncio.sleep(0.5)  # the server is told to stop within this time
            yield f'"pkgs": "{URL}"}}'.encode()

        async def send() -> httpx.Response:
            headers = {"Content-Type": "application/json"}
            return await one.http.post("/api_3/build/create/url", content=slow(), headers=headers, auth=auth)

        sending = asyncio.create_task(send())
        await going.wait()
        stopping = asyncio.create_task(one.stop())
        answer = await sending
        assert (answer.status_code, len(answer.json()["items"])) == (200, 1), answer.text
        await stopping


async def test_without_a_controller_no_build_is_created(
    here: World, kubeconfig: Path, cluster: clusters.Cluster, tmp_path: Path
) -> None:
    await here.create_project()
    async with replica(here, kubeconfig, patience=1) as one:
        auth = login(await admin(here, cluster, str(one.http.base_url), tmp_path))
        answer = await one.http.post("/api_3/build/create/url", json={**PROJECT, "pkgs": URL}, auth=auth)
        assert (answer.status_code, answer.json()["error"]) == (
            503, "The build got no id in time: the controller is not working. It was not created.",
        )  # fmt: skip
        assert (await here.kube.get(paths.copr("coprbuilds", here.namespace)))["items"] == []
