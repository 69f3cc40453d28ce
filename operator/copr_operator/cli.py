"""`copr-operator`: controller, backend, the agents of build pods, and what users need beside kubectl.

Every option can be given in the environment: COPR_<COMMAND>_<OPTION>. Commands import what they need only when they
run: an agent in a build pod must start fast.
"""

import asyncio
import contextlib
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from copr_operator import __version__

_LOG_OPTIONS = (
    click.option("--log-level", default="info", show_default=True, help="debug, info, warning or error."),
    click.option(
        "--log-format", type=click.Choice(["json", "plain"]), default="json", show_default=True, help="json or plain."
    ),
)


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Imports make next to no garbage: looking for it would be an eighth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Commands(click.Group):
    """Says in one line why no API server can be reached, whatever command wanted it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            from copr_operator.kube.access import AccessError

            if isinstance(error, AccessError):
                raise click.ClickException(str(error)) from error
            raise


@click.group(cls=_Commands, context_settings={"auto_envvar_prefix": "COPR", "show_default": True})
@click.version_option(__version__)
def main() -> None:
    """Fedora Copr's build service as Kubernetes resources."""


@main.command()
@click.option("--namespace", required=True, help="The installation's own namespace (CoprChroots, Lease, id counter).")
@click.option("--watch", multiple=True, help="Namespace to look after; repeatable. None: all namespaces.")
@click.option("--operator-image", required=True, help="Image of the trusted containers in build pods.")
@click.option("--source-image", required=True, help="Image in which SRPMs are made.")
@click.option("--backend-url", required=True, help="Backend as build pods reach it.")
@click.option("--backend-control-url", default="", help="Backend as the controller reaches it; default: --backend-url.")
@click.option("--results-url", default="", help="Backend as people reach it; default: --backend-url.")
@click.option(
    "--backend-token-file",
    type=click.Path(path_type=Path),
    default=Path("/var/run/secrets/copr-backend/token"),
    help="Token for the backend.",
)
@click.option(
    "--backend-ca-file", type=click.Path(path_type=Path), default=None, help="CA bundle for the backend's TLS."
)
@click.option("--backend-ca-config-map", default=None, help="ConfigMap with ca.crt in each build namespace.")
@click.option("--image-pull-policy", default="IfNotPresent", help="imagePullPolicy of build pods.")
@click.option("--source-cpu-request", default="250m", help="CPU request of the source container.")
@click.option("--build-pods", default="{}", help="JSON: what is added to every build pod; see docs/install.md.")
@click.option("--source-allow", multiple=True, help="Host, *.DOMAIN or network that sources may come from; repeatable.")
@click.option("--source-deny", multiple=True, help="Public network that sources may not come from; repeatable.")
@click.option("--dist-gits", default="", help="JSON list of dist-gits: name, cloneURL, lookasideURL, namespace.")
@click.option("--pypi-url", default="https://pypi.org/pypi", help="JSON API of the Python package index.")
@click.option("--gem-source", default="https://rubygems.org/", help="Gem source.")
@click.option("--kubeconfig", default=None, help="Outside a cluster: the kubeconfig; default: $KUBECONFIG.")
@click.option("--workers", default=16, help="Objects reconciled at the same time.")
@click.option("--resync-seconds", default=600.0, help="Seconds between two full LISTs.")
@click.option("--http-port", default=8080, help="Port of /healthz, /readyz and /metrics; 0: none.")
@_LOG_OPTIONS[0]
@_LOG_OPTIONS[1]
def controller(
    namespace: str,
    watch: tuple[str, ...],
    operator_image: str,
    source_image: str,
    backend_url: str,
    backend_control_url: str,
    results_url: str,
    backend_token_file: Path,
    backend_ca_file: Path | None,
    backend_ca_config_map: str | None,
    image_pull_policy: str,
    source_cpu_request: str,
    build_pods: str,
    source_allow: tuple[str, ...],
    source_deny: tuple[str, ...],
    dist_gits: str,
    pypi_url: str,
    gem_source: str,
    kubeconfig: str | None,
    workers: int,
    resync_seconds: float,
    http_port: int,
    log_level: str,
    log_format: str,
) -> None:
    """Reconcile CoprBuilds and CoprProjects. One is active at a time; others wait for its Lease."""
    with _importing():
        from copr_operator import logs
        from copr_operator.controller.main import serve
        from copr_operator.controller.reconciler import current_id, current_key
        from copr_operator.controller.settings import ControllerSettings
        from copr_operator.core.config import BuildPods, OperatorConfig, SourceSettings
        from copr_operator.core.distgits import parse_dist_gits
        from copr_operator.core.egress import check_rules
        from copr_operator.core.wire import EgressRules

    try:
        added = BuildPods.model_validate_json(build_pods)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--build-pods") from error
    try:
        check_rules(EgressRules(allow=source_allow, deny=source_deny))
        instances = parse_dist_gits(dist_gits)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    logs.configure(log_level, log_format, {"key": current_key, "build": current_id})
    operator = OperatorConfig(
        namespace=namespace,
        operator_image=operator_image,
        source_image=source_image,
        backend_url=backend_url.rstrip("/"),
        results_url=(results_url or backend_url).rstrip("/"),
        image_pull_policy=image_pull_policy,
        backend_ca_config_map=backend_ca_config_map,
        source_cpu_request=source_cpu_request,
        build_pods=added,
        sources=SourceSettings(
            dist_gits=instances,
            pypi_url=pypi_url,
            gem_source=gem_source,
            egress_allow=source_allow,
            egress_deny=source_deny,
        ),
    )
    settings = ControllerSettings(
        operator=operator,
        namespaces=watch,
        kubeconfig=kubeconfig,
        backend_control_url=backend_control_url,
        backend_token_file=backend_token_file,
        backend_ca_file=backend_ca_file,
        workers=workers,
        resync_seconds=resync_seconds,
        http_port=http_port or None,
    )
    told_to_stop = asyncio.run(serve(settings))
    sys.exit(0 if told_to_stop else 1)


@main.command()
@click.option("--root", type=click.Path(path_type=Path), default=None, help="Directory of the results store.")
@click.option("--port", type=int, default=None, help="Port to listen on.")
@_LOG_OPTIONS[0]
@_LOG_OPTIONS[1]
def backend(root: Path | None, port: int | None, log_level: str, log_format: str) -> None:
    """Keep the results and serve them. All its settings: COPR_BACKEND_<SETTING> (docs/backend.md)."""
    from copr_operator import logs
    from copr_operator.backend.main import run
    from copr_operator.backend.settings import BackendSettings

    logs.configure(log_level, log_format)
    run(BackendSettings.from_environment(root=root, port=port))


@main.command()
@click.option("--namespace", default=None, help="The installation's own namespace (CoprChroots, API tokens).")
@click.option("--backend-url", default=None, help="Backend as the frontend reaches it.")
@click.option("--results-url", default=None, help="Backend as people reach it.")
@click.option("--port", type=int, default=None, help="Port to listen on.")
@click.option("--kubeconfig", default=None, help="Outside a cluster: the kubeconfig; default: $KUBECONFIG.")
@_LOG_OPTIONS[0]
@_LOG_OPTIONS[1]
def frontend(
    namespace: str | None,
    backend_url: str | None,
    results_url: str | None,
    port: int | None,
    kubeconfig: str | None,
    log_level: str,
    log_format: str,
) -> None:
    """Serve Copr's API v3 for copr-cli. All its settings: COPR_FRONTEND_<SETTING> (docs/api.md)."""
    from copr_operator import logs
    from copr_operator.frontend.main import run
    from copr_operator.frontend.settings import FrontendSettings

    logs.configure(log_level, log_format)
    settings = FrontendSettings.from_environment(
        namespace=namespace, backend_url=backend_url, results_url=results_url, port=port
    )
    run(settings, kubeconfig)


@main.group()
def token() -> None:
    """Tokens for copr-cli."""


@token.command("create")
@click.argument("user")
@click.option("--namespace", "-n", default="copr-operator", help="The installation's own namespace.")
@click.option("--group", "groups", multiple=True, help="Group whose projects are the user's too; repeatable.")
@click.option("--admin", is_flag=True, help="May do everything in every project.")
@click.option("--days", default=180, help="Life of the token.")
@click.option("--url", default="http://localhost:8080", help="Frontend as the user reaches it.")
@click.option("--kubeconfig", default=None, help="Default: $KUBECONFIG or your own.")
def create_token(
    user: str, namespace: str, groups: tuple[str, ...], admin: bool, days: int, url: str, kubeconfig: str | None
) -> None:
    """Make a token and print the user's ~/.config/copr. The token is shown once: only a hash of it is kept."""
    from copr_operator.frontend.token_create import TokenError, create

    try:
        text = asyncio.run(create(user, namespace, groups, admin=admin, days=days, url=url, kubeconfig=kubeconfig))
    except TokenError as error:
        raise click.ClickException(str(error)) from error
    click.echo(text)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--namespace", "-n", required=True, help="Namespace of the CoprBuild that will use the file.")
@click.option("--backend-url", required=True, help="Backend as you reach it.")
@click.option("--service-account", default="copr-uploader", help="ServiceAccount of the namespace that may upload.")
@click.option("--kubeconfig", default=None, help="Default: $KUBECONFIG or your own.")
def upload(file: Path, namespace: str, backend_url: str, service_account: str, kubeconfig: str | None) -> None:
    """Send an .src.rpm or a .spec; prints the source to put into a CoprBuild."""
    from copr_operator.upload import UploadError, send

    try:
        answer = asyncio.run(send(file, namespace, backend_url, service_account, kubeconfig))
    except UploadError as error:
        raise click.ClickException(str(error)) from error
    click.echo("source:\n  type: upload\n  upload:")
    click.echo(f"    ref: {answer['ref']}\n    sha256: {answer['sha256']}")


@main.command(hidden=True)
@click.option("--namespace", required=True, help="The installation's own namespace.")
@click.option("--deployment", required=True, help="The controller's Deployment.")
@click.option("--watch", "watched", multiple=True, help="Namespace with builds; repeatable. None: all namespaces.")
@click.option("--patience", default=60.0, help="Seconds that deletions under way may take.")
@click.option("--kubeconfig", default=None, help="Outside a cluster: the kubeconfig; default: $KUBECONFIG.")
def drain(namespace: str, deployment: str, watched: tuple[str, ...], patience: float, kubeconfig: str | None) -> None:
    """Take the finalizers off before an uninstall: the chart's pre-delete hook."""
    from copr_operator.chart.drain import Drained, DrainError
    from copr_operator.chart.drain import drain as run
    from copr_operator.kube.client import ApiError, KubeClient

    async def drained() -> Drained:
        async with await KubeClient.from_environment(kubeconfig=kubeconfig) as kube:
            return await run(kube, namespace, deployment, watched, patience)

    try:
        done = asyncio.run(drained())
    except (DrainError, ApiError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"let go of {done.released} objects; {done.deleting} of them were being deleted")


@main.command(hidden=True)
@click.option("--namespace", required=True, help="Where the build is made.")
@click.option("--chroot", required=True, help="Chroot to build in.")
@click.option("--backend-url", required=True, help="Backend as this pod reaches it.")
@click.option(
    "--backend-token-file",
    type=click.Path(path_type=Path),
    default=Path("/var/run/secrets/copr-backend/token"),
    help="Token for the backend.",
)
@click.option("--limit", default=300.0, help="Seconds that the build may take.")
@click.option("--kubeconfig", default=None, help="Outside a cluster: the kubeconfig; default: $KUBECONFIG.")
def smoke_test(
    namespace: str, chroot: str, backend_url: str, backend_token_file: Path, limit: float, kubeconfig: str | None
) -> None:
    """Build one tiny package: `helm test`."""
    if not namespace:
        raise click.ClickException(
            "nowhere to build: build pods need ConfigMaps, Secrets or a queue of their namespace, which one made for "
            "this test would lack; give a namespace that has them (the chart's value test.namespace)"
        )
    from copr_operator.chart.smoke import SmokeError, smoke
    from copr_operator.kube.client import KubeClient

    async def built() -> str:
        token = backend_token_file.read_text().strip()
        async with await KubeClient.from_environment(kubeconfig=kubeconfig) as kube:
            return await smoke(kube, namespace, chroot, backend_url, token, limit)

    try:
        click.echo(f"built; the repository is {asyncio.run(built())}")
    except (SmokeError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.group()
def agent() -> None:
    """The trusted containers of build pods."""


@agent.command()
def fetch() -> None:
    """Bring the inputs into the pod."""
    with _importing():
        from copr_operator.builder.agent import fetch

    sys.exit(fetch.main())


@agent.command()
def collect() -> None:
    """Follow the log, then store the results."""
    with _importing():
        from copr_operator.builder.agent import collect

    sys.exit(collect.main())
