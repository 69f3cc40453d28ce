"""`copr-operator smoke-test`: one real tiny build, from an uploaded spec to a repository with metadata.

It needs a namespace where build pods are admitted, and a token for the backend of an account that may create builds.
"""

import asyncio
import time
from typing import Any

import aiohttp

from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient
from copr_operator.upload import UploadError, post

NAME = "smoke-test"
OWNER = "helm-test"
POLL = 0.5
ENDED = frozenset({"succeeded", "failed", "canceled", "skipped"})
SPEC = f"""\
Name:           {NAME}
Version:        1.0
Release:        1
Summary:        Built to see that this installation builds
License:        Apache-2.0
BuildArch:      noarch

%description
Built to see that this installation builds.

%install
mkdir -p %{{buildroot}}/usr/share
echo built > %{{buildroot}}/usr/share/{NAME}

%files
/usr/share/{NAME}
"""


class SmokeError(Exception):
    """The build did not become a repository; the message says where it stopped."""


async def smoke(kube: KubeClient, namespace: str, chroot: str, backend_url: str, token: str, limit: float) -> str:
    """Builds the package in `chroot` and returns the URL of the repository that has it.

    `token` is for the backend, `limit` how many seconds the build may take. What was made is deleted in any case, with
    its results. Raises SmokeError.
    """
    deadline = time.monotonic() + limit
    project = _object("CoprProject", {"owner": OWNER, "name": NAME, "chroots": [{"name": chroot}]})
    try:
        sent = await post(SPEC.encode(), f"{NAME}.spec", namespace, backend_url, token)
        source = {"type": "upload", "upload": {"ref": sent["ref"], "sha256": sent["sha256"]}}
        build = _object(
            "CoprBuild", {"owner": OWNER, "project": NAME, "source": source, "timeout": max(60, int(limit))}
        )
        await _remove(kube, namespace, deadline)
        try:
            await kube.create(paths.copr("coprprojects", namespace), project)
            await kube.create(paths.copr("coprbuilds", namespace), build)
            await _succeed(kube, namespace, deadline)
            return await _published(f"{backend_url.rstrip('/')}/results/{names.repo_dir(OWNER, NAME, chroot)}")
        finally:
            await _remove(kube, namespace, time.monotonic() + 60)
    except ApiError as error:
        raise SmokeError(f"the API server: {error.message}") from error
    except UploadError as error:
        raise SmokeError(str(error)) from error


def _object(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": {"name": NAME}, "spec": spec}


async def _succeed(kube: KubeClient, namespace: str, deadline: float) -> None:
    """Waits for the end of the build. Raises SmokeError with what it waits for, or with why it failed."""
    while True:
        status = (await kube.get(paths.copr("coprbuilds", namespace, NAME))).get("status", {})
        state = status.get("state", "not looked at by any controller")
        if state == "succeeded":
            return
        if state in ENDED:
            failure = status.get("failure", {})
            raise SmokeError(f"the build {state}: {failure.get('reason')}: {failure.get('message')}")
        if time.monotonic() > deadline:
            conditions = {c["type"]: c for c in status.get("conditions", [])}
            why = conditions.get("Succeeded", {})
            raise SmokeError(f"the build is still {state}: {why.get('reason', '-')}: {why.get('message', '-')}")
        await asyncio.sleep(POLL)


async def _published(repository: str) -> str:
    """Raises SmokeError unless the repository has metadata that DNF could start from."""
    url = f"{repository}/repodata/repomd.xml"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.get(url) as answer,
        ):
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SmokeError(f"{url} can't be read: {error or type(error).__name__}") from error
    if answer.status != 200 or 'type="primary"' not in text:
        raise SmokeError(f"{url} is no repository metadata: {answer.status}")
    return repository


async def _remove(kube: KubeClient, namespace: str, deadline: float) -> None:
    """Deletes the build and the project of this or an earlier test, and waits until they are gone."""
    for plural in ("coprbuilds", "coprprojects"):
        path = paths.copr(plural, namespace, NAME)
        await kube.delete(path)
        while await kube.find(path) is not None:
            if time.monotonic() > deadline:
                raise SmokeError(f"{path} does not go")
            await asyncio.sleep(POLL)
