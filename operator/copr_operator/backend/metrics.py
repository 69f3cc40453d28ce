"""What the backend counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """A registry of its own, so that two backends in one process (tests) don't share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.publications = Counter(
            "copr_backend_publications_total", "Metadata runs, by outcome.", ["outcome"], registry=registry
        )
        self.seconds = Histogram(
            "copr_backend_publication_seconds",
            "Duration of metadata runs.",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
            registry=registry,
        )
        self.groups = Counter(
            "copr_backend_rendered_groups_total", "Groups of packages rendered, not copied.", registry=registry
        )
        self.metadata_bytes = Counter("copr_backend_metadata_bytes_total", "Metadata written.", registry=registry)
        self.rebuilds = Counter(
            "copr_backend_rebuilds_total", "Repositories read anew because their state was lost.", registry=registry
        )
        self.queued = Gauge("copr_backend_publications_queued", "Changes that wait for a run.", registry=registry)
        self.received_bytes = Counter(
            "copr_backend_received_bytes_total", "Bytes of request bodies.", registry=registry
        )
        self.finished = Counter(
            "copr_backend_steps_total", "Steps that ended, by outcome.", ["outcome"], registry=registry
        )
        self.refused = Counter(
            "copr_backend_refused_total", "Refused results, by reason.", ["reason"], registry=registry
        )
        self.denied = Counter("copr_backend_denied_total", "Requests refused with 401 or 403.", registry=registry)
        self.worker_deaths = Gauge(
            "copr_backend_worker_deaths", "RPM readers that crashed or hung since the start.", registry=registry
        )
        self.trash = Gauge("copr_backend_trash_entries", "Removals that wait for the grace time.", registry=registry)

    def published(self, groups: int, size: int, seconds: float) -> None:
        self.publications.labels("published").inc()
        self.groups.inc(groups)
        self.metadata_bytes.inc(size)
        self.seconds.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)
