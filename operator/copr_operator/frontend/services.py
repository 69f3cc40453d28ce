"""All parts of one frontend, wired."""

import contextlib
from collections.abc import AsyncIterator

from copr_operator.frontend.auth import Authenticator, Secrets
from copr_operator.frontend.backend import BackendClient
from copr_operator.frontend.body import Limits
from copr_operator.frontend.builds import Builds
from copr_operator.frontend.cache import Cache
from copr_operator.frontend.definitions import Definitions
from copr_operator.frontend.informer import Informers
from copr_operator.frontend.metrics import Metrics
from copr_operator.frontend.projects import Projects
from copr_operator.frontend.reader import Reader
from copr_operator.frontend.settings import FrontendSettings
from copr_operator.kube.client import KubeClient


class Services:
    """Started and ended by `running`."""

    def __init__(self, settings: FrontendSettings, kube: KubeClient, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.sources = settings.sources
        self.kube = kube
        self.metrics = metrics or Metrics()
        self.cache = Cache(settings.results_url)
        self.metrics.count_builds(lambda: len(self.cache.builds))
        self.informers = Informers(kube, self.cache, settings.namespaces, settings.namespace)
        self.reader = Reader(kube, self.cache, settings.namespaces)
        self.secrets = Secrets(kube, settings.namespace)
        self.auth = Authenticator(self.secrets, settings.frontend_url)
        self.backend = BackendClient(
            settings.backend_url, settings.backend_token_file, settings.backend_ca_file, silence=settings.read_timeout
        )
        self.builds = Builds(
            kube, self.cache, self.reader, id_timeout=settings.id_timeout, cancel_timeout=settings.cancel_timeout
        )
        self.definitions = Definitions(kube, self.cache)
        self.projects = Projects(
            kube, self.cache, self.reader, self.builds, self.definitions, settings.project_namespace
        )
        self.limits = Limits(
            body=settings.max_body_bytes, file=settings.max_upload_bytes, silence=settings.read_timeout,
            spool=settings.spool,
        )  # fmt: skip
        self.stopping = False

    @property
    def ready(self) -> bool:
        return self.informers.synced and not self.stopping

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.backend, self.informers.running():
            try:
                yield
            finally:
                self.stopping = True
