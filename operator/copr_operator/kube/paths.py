"""URL paths of the API server, built in one place."""

from urllib.parse import quote

from copr_operator.core import names


def copr(plural: str, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
    """Path of one of our own kinds: `coprbuilds`, `coprprojects`, `coprchroots`. No namespace: all of them."""
    return _path(f"/apis/{names.API_VERSION}", plural, namespace, name, subresource)


def jobs(namespace: str | None = None, name: str | None = None) -> str:
    return _path("/apis/batch/v1", "jobs", namespace, name)


def deployments(namespace: str, name: str) -> str:
    return _path("/apis/apps/v1", "deployments", namespace, name)


def core(plural: str, namespace: str | None = None, name: str | None = None) -> str:
    """Path in the core group: `pods`, `events`, `configmaps`."""
    return _path("/api/v1", plural, namespace, name)


def leases(namespace: str, name: str | None = None) -> str:
    return _path("/apis/coordination.k8s.io/v1", "leases", namespace, name)


TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 (a path)
SUBJECT_ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


def _path(prefix: str, plural: str, namespace: str | None, name: str | None, subresource: str | None = None) -> str:
    parts = [prefix]
    if namespace is not None:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(plural)
    if name is not None:
        parts.append(quote(name, safe=""))
    if subresource is not None:
        parts.append(subresource)
    return "/".join(parts)
