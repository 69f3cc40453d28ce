"""`copr-operator token create`: an API token as a Secret, by the rights of whoever runs it."""

from datetime import UTC, datetime

from copr_operator.frontend import tokens
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient


class TokenError(Exception):
    """The token could not be made; the message says why."""


async def create(
    user: str,
    namespace: str,
    groups: tuple[str, ...],
    *,
    admin: bool,
    days: int,
    url: str,
    kubeconfig: str | None,
) -> str:
    """The user's ~/.config/copr."""
    try:
        made = tokens.make(user, groups, admin=admin, now=datetime.now(UTC), days=days)
    except ValueError as error:
        raise TokenError(str(error)) from error
    try:
        async with await KubeClient.from_environment(kubeconfig=kubeconfig) as kube:
            await kube.create(paths.core("secrets", namespace), made.secret)
    except ApiError as error:
        raise TokenError(f"no Secret for the token in namespace {namespace}: {error.message}") from error
    return tokens.config_file(user, made.login, made.token, made.expires, url.rstrip("/"))
