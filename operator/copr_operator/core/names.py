"""Every name that more than one process must agree on: result paths, Jobs, labels, container paths.

Result paths are Copr's own (backend `job.py`): clients, `dnf` configurations and `download-build` know them.
"""

import hashlib
import re

GROUP = "copr-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FINALIZER = f"{GROUP}/results"
FIELD_MANAGER = "copr-operator"
TOKEN_AUDIENCE = "copr-backend"  # noqa: S105 (the audience of a token, not a token)

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "copr-operator"
LABEL_BUILD_ID = f"{GROUP}/build-id"
LABEL_BUILD_UID = f"{GROUP}/build-uid"
LABEL_STEP = f"{GROUP}/step"
LABEL_CHROOT = f"{GROUP}/chroot"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_OWNER = f"{GROUP}/owner"
LABEL_PROJECT = f"{GROUP}/project"
ANNOTATION_HEARD = f"{GROUP}/ended-builds-heard"
"""On the Lease: how far ended builds have been watched (controller.ended)."""
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
"""Kueue's: it suspends Jobs that have it until their queue has room."""

SRPM_BUILDS = "srpm-builds"
"""Directory of the source phase below `<owner>/<dirname>/`; no chroot can have this name."""
SOURCE_STEP = "src"
"""How the source step is called in Job names and in the step label."""
MAX_ATTEMPTS = 3

LIVE_LOG = "builder-live.log"
"""The whole output of the untrusted container; Copr's name. Uncompressed while it runs, `.gz` afterwards."""

# Paths inside a build pod. `IN` is read-only for untrusted code; `OUT` and `CTL` are shared with `collect`.
IN_DIR = "/copr/in"
OUT_DIR = "/copr/out"
CTL_DIR = "/copr/ctl"
END_FIFO = f"{CTL_DIR}/end"
HOOK_PAYLOAD = "hook_payload"
"""What a webhook brought, in the working directory of a custom source's script (Copr's custom_source_method.rst)."""
PRIVATE_DIR = "/copr/private"
"""Scratch space of `fetch`, in memory: what git, svn and ssh are configured with. No other container has it."""
CREDENTIALS_DIR = "/copr/credentials"
"""The Secret of a private repository; only `fetch` has it."""
CA_DIR = "/copr/ca"
"""The administrator's CA bundle for servers outside, as `ca.crt`."""
BACKEND_CA_DIR = "/etc/copr-backend"
"""The CA bundle for the backend's TLS, as `ca.crt`."""
TOKEN_PATH = "/var/run/secrets/copr-backend/token"  # noqa: S105 (a path)

_LABEL_SAFE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def build_dir(build_id: int) -> str:
    """`42` -> `00000042`: how Copr pads build ids in paths."""
    return f"{build_id:08d}"


def srpm_dir(owner: str, dirname: str, build_id: int) -> str:
    """Directory of the source step's results, relative to the results root, without slashes at the ends."""
    return f"{owner}/{dirname}/{SRPM_BUILDS}/{build_dir(build_id)}"


def repo_dir(owner: str, dirname: str, chroot: str) -> str:
    """Directory of one DNF repository, relative to the results root."""
    return f"{owner}/{dirname}/{chroot}"


def result_dir(owner: str, dirname: str, chroot: str, build_id: int, package: str) -> str:
    """Directory of one chroot's results, relative to the results root."""
    return f"{repo_dir(owner, dirname, chroot)}/{build_dir(build_id)}-{package}"


def short_hash(text: str, length: int = 10) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def label_value(text: str) -> str:
    """A label-safe stand-in for `text`: itself where it is a valid label value, else a hash of it.

    `@group`, `demo:pr:1`, `libstdc++` and anything over 63 characters are not valid label values.
    """
    return text if _LABEL_SAFE.fullmatch(text) else f"h-{short_hash(text, 20)}"


def slug(text: str) -> str:
    """A DNS-label form of a chroot name that no other chroot name shares."""
    plain = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")
    if plain == text and len(plain) <= 40:
        return plain
    return f"{plain[:33].strip('-')}-{short_hash(text, 6)}"


def job_name(build_uid: str, step: str, attempt: int) -> str:
    """`cb-<10 hex of uid>-<src or chroot slug>-<attempt>`: the same inputs always name the same Job.

    `step` is SOURCE_STEP or a chroot name. At most 63 characters, so that the Job controller can label pods with it.
    """
    uid = build_uid.replace("-", "")[:10]
    part = SOURCE_STEP if step == SOURCE_STEP else slug(step)
    return f"cb-{uid}-{part}-{attempt}"


def package_build_name(package: str, uid: str, number: int, digest: str) -> str:
    """Of the CoprBuild of a CoprPackage's source: the same for the same source as the package's `number`th."""
    return f"{slug(package.lower())}-{short_hash(f'{uid} {number} {digest}')}".lstrip("-")


def owned_by_package(name: str, uid: str) -> dict[str, object]:
    """Owner reference of a CoprBuild that was made from a CoprPackage."""
    return {"apiVersion": API_VERSION, "kind": "CoprPackage", "name": name, "uid": uid, "controller": True}
