"""`copr-operator upload`: sends a file to the backend as a ServiceAccount that may create builds in the namespace.

The token is made for the backend alone (its audience): the user's own credentials never leave for it.
"""

from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import aiohttp

from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient


class UploadError(Exception):
    """The file could not be sent; the message says why."""


async def send(
    file: Path, namespace: str, backend_url: str, service_account: str, kubeconfig: str | None
) -> dict[str, Any]:
    """Returns the backend's answer: `ref`, `sha256` and `size`."""
    token = await _token(namespace, service_account, kubeconfig)
    try:
        with file.open("rb") as data:
            return await post(data, file.name, namespace, backend_url, token)
    except OSError as error:
        raise UploadError(f"{file} can't be read: {error}") from error


async def post(data: IO[bytes] | bytes, name: str, namespace: str, backend_url: str, token: str) -> dict[str, Any]:
    """Sends a file called `name` with a token for the backend; returns as `send` does. Raises UploadError."""
    url = f"{backend_url.rstrip('/')}/uploads"
    params = {"namespace": namespace, "filename": name}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
    timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=300)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, params=params, data=data, headers=headers) as response,
        ):
            answer: dict[str, Any] = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise UploadError(f"the backend at {backend_url} can't be reached: {error or type(error).__name__}") from error
    if response.status >= 400:
        raise UploadError(f"the backend refused {name}: {answer.get('error', response.status)}")
    return answer


async def _token(namespace: str, service_account: str, kubeconfig: str | None) -> str:
    path = f"{paths.core('serviceaccounts', namespace, quote(service_account, safe=''))}/token"
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [names.TOKEN_AUDIENCE], "expirationSeconds": 3600},
    }
    try:
        async with await KubeClient.from_environment(kubeconfig=kubeconfig) as kube:
            return str((await kube.create(path, request))["status"]["token"])
    except ApiError as error:
        where = f"ServiceAccount {namespace}/{service_account}"
        raise UploadError(f"no token of {where} for the backend: {error.message}") from error
