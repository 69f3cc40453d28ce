"""What an administrator can choose for the frontend, from the environment or the command line."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from copr_operator.api.common import ObjectName
from copr_operator.core.config import SourceSettings
from copr_operator.core.distgits import parse_dist_gits
from copr_operator.environment import EnvironmentSettings

MIB = 1024**2
GIB = 1024**3
ENV_PREFIX = "COPR_FRONTEND_"

Seconds = Annotated[float, Field(gt=0)]
Url = Annotated[str, Field(pattern=r"^https?://[!-.0-~]([!-~]*[!-.0-~])?$")]


class FrontendSettings(EnvironmentSettings):
    """Every field can be given as `COPR_FRONTEND_<FIELD>`; sizes are bytes, times are seconds."""

    prefix = ENV_PREFIX

    namespace: ObjectName = Field(description="The installation's own namespace: CoprChroots and API tokens.")
    watch: str = Field("", description="Namespaces with builds, separated by blanks. Empty: all of the cluster.")
    project_namespace: str = Field(
        "copr-{owner}",
        description="Namespace of projects made through the API; {owner} is the owner's name in lower case, `-` for "
        "what a namespace's name can't hold and for the @ of a group. It must exist.",
    )
    dist_gits: str = Field(
        "",
        description="JSON list of dist-gits beside fedora and centos: as COPR_CONTROLLER_DIST_GITS.",
    )
    backend_url: Url = Field(description="Backend as the frontend reaches it, without a slash at the end.")
    results_url: Url = Field(description="Backend as people reach it, without a slash at the end.")
    frontend_url: Url = Field("http://localhost:8080", description="Frontend as people reach it; shown in texts.")
    backend_token_file: Path = Field(
        Path("/var/run/secrets/copr-backend/token"), description="Token for the backend, audience copr-backend."
    )
    backend_ca_file: Path | None = Field(None, description="CA bundle for the backend's TLS.")
    spool: Path | None = Field(None, description="Directory of uploads under way. Default: the system's temporary one.")
    host: str | None = Field(None, description="Address to listen on. Default: all, IPv4 and IPv6.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8080, description="Port to listen on.")
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM); with tls_key the frontend speaks HTTPS.")
    tls_key: Path | None = Field(None, description="Private key of tls_cert (PEM).")

    read_timeout: Seconds = Field(60, description="How long a client may be silent in the middle of a body.")
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(MIB, description="Largest body without a file.")
    max_upload_bytes: Annotated[int, Field(ge=1)] = Field(2 * GIB, description="Largest uploaded source.")
    max_uploads: Annotated[int, Field(ge=1)] = Field(16, description="Uploads received at the same time.")
    id_timeout: Seconds = Field(5, description="How long a new build may take to get its id; see docs/api.md.")
    cancel_timeout: Annotated[float, Field(ge=0)] = Field(
        5, description="How long the answer to a cancel waits for the build to be canceled."
    )
    token_days: Annotated[int, Field(ge=1, le=3650)] = Field(180, description="Life of tokens made by /api-token.")

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces with builds; empty: all."""
        return tuple(self.watch.split())

    @field_validator("dist_gits")
    @classmethod
    def _readable(cls, text: str) -> str:
        parse_dist_gits(text)
        return text

    @property
    def sources(self) -> SourceSettings:
        """What is known of the places that sources come from."""
        return SourceSettings(dist_gits=parse_dist_gits(self.dist_gits))
