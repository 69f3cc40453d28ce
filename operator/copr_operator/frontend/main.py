"""Starts the frontend: `run(settings)` serves until SIGTERM or SIGINT."""

import asyncio
import logging

from copr_operator.frontend.app import make_app
from copr_operator.frontend.metrics import Metrics
from copr_operator.frontend.services import Services
from copr_operator.frontend.settings import FrontendSettings
from copr_operator.kube.client import KubeClient
from copr_operator.serving import Serving

logger = logging.getLogger(__name__)


def run(settings: FrontendSettings, kubeconfig: str | None = None) -> None:
    asyncio.run(_run(settings, kubeconfig))


async def _run(settings: FrontendSettings, kubeconfig: str | None) -> None:
    metrics = Metrics()
    async with await KubeClient.from_environment(kubeconfig=kubeconfig, recorder=metrics.record_api) as kube:
        await serve(settings, kube, metrics)


async def serve(settings: FrontendSettings, kube: KubeClient, metrics: Metrics) -> None:
    """Requests under way get half a minute to end. `/readyz` says no until the cache is filled."""
    services = Services(settings, kube, metrics)
    serving = Serving(
        make_app(services),
        host=settings.host, port=settings.port, tls_cert=settings.tls_cert, tls_key=settings.tls_key,
    )  # fmt: skip
    async with services.running():
        logger.info("serving Copr's API on port %d", settings.port)
        await serving.run()
