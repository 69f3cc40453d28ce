"""The few API calls that starting the cluster needs, without a client library."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.cluster.errors import ClusterError


class Kube:
    """A bearer token and a server."""

    def __init__(self, server: str, *, ca: Path, token: str) -> None:
        self._server, self._token = server, token
        context = ssl.create_default_context(cafile=str(ca))
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Make one request; an HTTP error is an answer, a broken connection an OSError."""
        request = urllib.request.Request(
            self._server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=10) as answer:
                return int(answer.status), json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {"message": error.read().decode("utf-8", "replace")[:500]}

    def create(self, item: Mapping[str, Any]) -> None:
        """Create an object; one that is there already is left as it is."""
        version, metadata = str(item["apiVersion"]), item["metadata"]
        path = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if "namespace" in metadata:
            path += f"/namespaces/{metadata['namespace']}"
        path += f"/{str(item['kind']).lower()}s"
        status, answer = self.call("POST", path, item)
        if status not in (201, 409):
            message = answer.get("message")
            raise ClusterError(f"creating {item['kind']} {metadata['name']} failed with {status}: {message}")

    def wait(self, what: str, done: Callable[["Kube"], bool], *, timeout: float, check: Callable[[], None]) -> None:
        """Poll until done(self); check() may raise when waiting has become pointless."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                if done(self):
                    return
            except OSError:
                pass  # the server is restarting, or gone: check() tells which
            check()
            if time.monotonic() > deadline:
                raise ClusterError(f"waited {timeout:.0f} s for {what}")
            time.sleep(0.1)


def has_default_service_account(kube: Kube) -> bool:
    """Say whether pods can be created in the default namespace: admission wants its service account."""
    return kube.call("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200


def node_is_ready(name: str) -> Callable[[Kube], bool]:
    """Return a test of a node's Ready condition, and of the taint that lingers a moment after it."""

    def ready(kube: Kube) -> bool:
        status, node = kube.call("GET", f"/api/v1/nodes/{name}")
        if status != 200:
            return False
        conditions = {one["type"]: one["status"] for one in node["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and not node["spec"].get("taints")

    return ready
