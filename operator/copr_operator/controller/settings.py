"""Settings of the controller process, from the command line or the environment (see cli.py)."""

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from copr_operator.core.config import OperatorConfig


def default_identity() -> str:
    """Unique for each start, so that a restarted process never takes its predecessor's Lease for its own."""
    return f"{socket.gethostname()}_{os.urandom(4).hex()}"


@dataclass(frozen=True)
class ControllerSettings:
    operator: OperatorConfig
    namespaces: tuple[str, ...] = ()
    """Namespaces whose builds are looked after; empty: all of them."""
    kubeconfig: str | None = None
    backend_control_url: str = ""
    """How the controller reaches the backend; empty: as build pods do."""
    backend_token_file: Path = Path("/var/run/secrets/copr-backend/token")
    backend_ca_file: Path | None = None
    workers: int = 16
    resync_seconds: float = 600.0
    http_port: int | None = 8080
    """Port of /healthz, /readyz and /metrics; None: none."""
    lease_duration: float = 15.0
    lease_renew: float = 5.0
    identity: str = field(default_factory=default_identity)

    @property
    def watched(self) -> tuple[str, ...]:
        """Namespaces that kopf watches: those with builds, and the installation's own for its chroots; empty: all."""
        if not self.namespaces:
            return ()
        return tuple(dict.fromkeys((*self.namespaces, self.operator.namespace)))
