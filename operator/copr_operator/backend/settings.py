"""What an administrator can choose for the backend, from the environment or the command line."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from copr_operator.core.names import TOKEN_AUDIENCE
from copr_operator.environment import EnvironmentSettings

MIB = 1024**2
GIB = 1024**3
ENV_PREFIX = "COPR_BACKEND_"


class BackendSettings(EnvironmentSettings):
    """Every field can be given as `COPR_BACKEND_<FIELD>`; sizes are bytes, times are seconds."""

    prefix = ENV_PREFIX

    root: Path = Field(description="Directory of the store, usually where the volume is mounted.")
    objects_url: str | None = Field(
        None,
        pattern=r"^(s3|gs|az)://[^/]+",
        description="Object storage in place of that directory: `s3://BUCKET/PREFIX`, `gs://...` or `az://...`; then "
        "only files under way and live logs are in the directory.",
    )
    scratch: Path | None = Field(
        None,
        description="Directory of files under way and of live logs. Default: `spool` in the store, so that they "
        "survive a restart and become results without being copied.",
    )
    host: str | None = Field(None, description="Address to listen on. Default: all, IPv4 and IPv6.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8080, description="Port to listen on.")
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM); with tls_key the backend speaks HTTPS.")
    tls_key: Path | None = Field(None, description="Private key of tls_cert (PEM).")
    controller: str = Field(
        "system:serviceaccount:copr-operator:copr-operator-controller",
        description="Who may call /control/v1: the controller's user name.",
    )
    frontend_url: Annotated[str, Field(pattern=r"^https?://[!-~]*[!-.0-~]$")] | None = Field(
        None,
        description="The frontend, without a slash at the end: it is asked who may read the results of private "
        "projects. Without it nobody but their build pods and Kubernetes' users can.",
    )
    frontend_ca_file: Path | None = Field(None, description="CA bundle for the frontend's TLS.")
    audience: str = Field(TOKEN_AUDIENCE, description="Audience that bearer tokens must be made for.")

    removal_grace: Annotated[float, Field(ge=0)] = Field(
        600, description="How long files stay after the metadata stopped naming them, for readers of the old metadata."
    )
    sweep_interval: Annotated[float, Field(gt=0)] = Field(30, description="How often overdue files are looked for.")
    gather: Annotated[float, Field(ge=0)] = Field(
        10,
        description="How long a publication waits at most for builds that are storing results of the same repository.",
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(2, description="Processes that read RPM headers.")
    inspect_timeout: Annotated[float, Field(gt=0)] = Field(300, description="How long reading one RPM may take.")
    read_timeout: Annotated[float, Field(gt=0)] = Field(
        60,
        description="How long a client may be silent in the middle of a request body, or take nothing of a download.",
    )

    max_downloads: Annotated[int, Field(ge=1)] = Field(
        1000, description="Most answers of `/results/` under way at once; what is asked for beyond gets 503."
    )
    max_file_bytes: Annotated[int, Field(ge=1)] = Field(4 * GIB, description="Largest file of a result.")
    max_step_bytes: Annotated[int, Field(ge=1)] = Field(8 * GIB, description="Largest sum of files of one step.")
    max_step_files: Annotated[int, Field(ge=1)] = Field(2000, description="Most files of one step.")
    max_log_bytes: Annotated[int, Field(ge=1)] = Field(
        256 * MIB, description="Largest log. Build pods cut theirs 64 KiB below the default, and send its end."
    )
    max_header_bytes: Annotated[int, Field(ge=4096)] = Field(64 * MIB, description="Largest header of an RPM.")
    max_upload_bytes: Annotated[int, Field(ge=1)] = Field(2 * GIB, description="Largest uploaded source.")
    max_namespace_upload_bytes: Annotated[int, Field(ge=1)] = Field(
        20 * GIB, description="Largest sum of the uploaded sources that wait in one namespace."
    )
    upload_retention: Annotated[float, Field(gt=0)] = Field(
        14 * 24 * 3600,
        description="How long an uploaded source waits for its build after its last use. It is kept for a day (or "
        "this, if shorter) when a source step that used it has ended.",
    )
    spool_retention: Annotated[float, Field(gt=0)] = Field(
        72 * 3600, description="How long files of a step that never finished are kept; longer than the longest build."
    )
    min_free_bytes: Annotated[int, Field(ge=0)] = Field(
        256 * MIB, description="Uploads are refused as StorageFull when less than this would be left."
    )

    @property
    def spool(self) -> Path:
        return self.scratch or self.root / "spool"
