"""The chart installed without a node: its ServiceAccounts, roles and settings are the rendered ones, and what would be
pods are processes of this machine, each as its ServiceAccount. TLS is on, with a certificate of its own.
"""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from copr_operator.core import names
from copr_operator.kube.client import KubeClient
from tests.cluster import api as clusters
from tests.integration.backend.process import REPOSITORY, free_port
from tests.support.chart import render
from tests.support.delivery import account_token
from tests.support.world import eventually

RBAC = "/apis/rbac.authorization.k8s.io/v1"
COLLECTIONS = {
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Role": RBAC + "/namespaces/{namespace}/roles",
    "RoleBinding": RBAC + "/namespaces/{namespace}/rolebindings",
    "ClusterRole": f"{RBAC}/clusterroles",
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
}


def certificate(directory: Path) -> tuple[Path, Path]:
    """Certificate and key for 127.0.0.1, signed by itself: it is its own CA."""
    made, key = directory / "tls.crt", directory / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=copr-operator test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    return made, key


@dataclass
class ChartProcesses:
    """One release. `release` is its name, and that of its namespace."""

    kube: KubeClient
    cluster: clusters.Cluster
    release: str
    values: Mapping[str, Any]
    directory: Path
    objects: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = render(self.values, release=self.release, namespace=self.release)
        self.ca, self._key = certificate(self.directory)
        self.backend_url = f"https://127.0.0.1:{free_port()}"
        self.frontend_url = f"https://127.0.0.1:{free_port()}"
        self._logs: dict[str, Path] = {}

    def account(self, component: str) -> str:
        return f"{self.release}-copr-operator-{component}"

    @contextlib.asynccontextmanager
    async def installed(self) -> AsyncIterator["ChartProcesses"]:
        """The release's ServiceAccounts and roles, in namespaces that are there. What is not in a namespace is removed
        at the end."""
        made = []
        try:
            for obj in self.objects:
                if obj["kind"] in COLLECTIONS:
                    metadata = obj["metadata"]
                    collection = COLLECTIONS[obj["kind"]].format(namespace=metadata.get("namespace"))
                    await self.kube.create(collection, obj)
                    made.append(f"{collection}/{metadata['name']}")
            yield self
        finally:
            for path in made:
                if path.startswith((f"{RBAC}/clusterroles", f"{RBAC}/clusterrolebindings")):
                    await self.kube.delete(path)

    async def kubeconfig(self, component: str) -> Path:
        """As the component's ServiceAccount."""
        token = await account_token(self.kube, self.release, self.account(component))
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        for user in config["users"]:
            user["user"] = {"token": token}
        file = self.directory / f"{component}.kubeconfig"
        file.write_text(yaml.safe_dump(config))
        return file

    async def backend_token(self, component: str) -> Path:
        """The component's token for the backend."""
        file = self.directory / f"{component}.token"
        file.write_text(await account_token(self.kube, self.release, self.account(component), names.TOKEN_AUDIENCE))
        return file

    async def environment(self, component: str, **more: str) -> dict[str, str]:
        """What a process of the component runs with."""
        return {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "KUBECONFIG": str(await self.kubeconfig(component)),
            **self._settings(component),
            **{f"COPR_{component.upper()}_{name}": value for name, value in more.items()},
        }

    def _settings(self, component: str) -> dict[str, str]:
        """What the chart's ConfigMap says, for those that have one."""
        name = f"{self.account(component)}-settings"
        return next((o["data"] for o in self.objects if (o["kind"], o["metadata"]["name"]) == ("ConfigMap", name)), {})

    async def _own(self, component: str) -> dict[str, str]:
        """Addresses and paths, which are others in a pod."""
        reach = {"BACKEND_URL": self.backend_url, "RESULTS_URL": self.backend_url, "BACKEND_CA_FILE": str(self.ca)}
        serve = {"HOST": "127.0.0.1", "TLS_CERT": str(self.ca), "TLS_KEY": str(self._key)}
        if component == "backend":
            root = self.directory / "store"
            root.mkdir()
            return {**serve, "PORT": self.backend_url.rpartition(":")[2], "ROOT": str(root), "MIN_FREE_BYTES": "0"}
        reach["BACKEND_TOKEN_FILE"] = str(await self.backend_token(component))
        if component == "controller":
            return {**reach, "HTTP_PORT": "0"}
        return {**reach, **serve, "PORT": self.frontend_url.rpartition(":")[2], "FRONTEND_URL": self.frontend_url}

    @contextlib.asynccontextmanager
    async def running(self, component: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """The component's process, which must end well when it is told to."""
        environment = await self.environment(component, **await self._own(component))
        self._logs[component] = self.directory / f"{component}.log"
        with self._logs[component].open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "copr_operator", component, env=environment, stderr=log, cwd=REPOSITORY
            )
        try:
            yield process
            process.terminate()
            async with asyncio.timeout(45):
                assert await process.wait() == 0, self.log(component)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @contextlib.asynccontextmanager
    async def serving(self, component: str, **client: Any) -> AsyncIterator[httpx.AsyncClient]:
        """A component that listens, and a client of it that trusts no other certificate."""
        url = self.backend_url if component == "backend" else self.frontend_url
        async with (
            self.running(component) as process,
            httpx.AsyncClient(base_url=url, verify=self.trust(), timeout=30, **client) as http,
        ):

            async def ready() -> bool:
                assert process.returncode is None, self.log(component)
                with contextlib.suppress(httpx.TransportError):
                    return (await http.get("/readyz")).status_code == 200
                return False

            await eventually(ready, lambda: f"{component} does not start\n{self.log(component)}")
            yield http

    def trust(self) -> ssl.SSLContext:
        """Trusts the release's own certificate and nothing else."""
        return ssl.create_default_context(cafile=str(self.ca))

    def log(self, component: str) -> str:
        """The end of what a component has said."""
        return self._logs[component].read_text()[-4000:]

    async def command(self, component: str, *arguments: str) -> str:
        """Output of one of the operator's commands as the component's ServiceAccount; it must succeed."""
        environment = await self.environment(component) | {"SSL_CERT_FILE": str(self.ca)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "copr_operator", *arguments, env=environment, cwd=REPOSITORY,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output = (await process.communicate())[0].decode()
        assert process.returncode == 0, output
        return output
