"""Whether a node can't give a pod a user namespace of its own, by what its kubelet and container runtime say. Pure.

No field of the API says so: the words are those of the kubelet (user namespace manager), containerd and CRI-O (sandbox)
and runc (mounts), as people have reported them; `tests/unit/core/test_userns.py` has each with its source.
"""

import re

_LACKING = re.compile(r"hostUsers|user namespace|IDMAP|idmap|mapped mount|noop process for unshare")
_ID = re.compile(r"\b[0-9a-f]{12,}\b")


def lacks_user_namespaces(message: str) -> bool:
    """For messages of the kubelet about a pod with `hostUsers: false`: its sandbox, or the start of a container."""
    return _LACKING.search(message) is not None


def without_ids(message: str) -> str:
    """Each try names another sandbox: without their ids the same words are the same message."""
    return _ID.sub("…", message)
