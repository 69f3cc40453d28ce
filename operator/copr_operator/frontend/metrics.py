"""What the frontend counts."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """A registry of its own, so that two frontends in one process (tests) don't share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "copr_frontend_requests_total", "Requests, by route and status.", ["method", "route", "code"],
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "copr_frontend_request_seconds", "Time to the answer's first byte.", ["method", "route"],
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100), registry=registry,
        )  # fmt: skip
        self.api_requests = Counter(
            "copr_frontend_api_requests_total", "Requests to the API server.", ["verb", "code"], registry=registry
        )
        self.builds = Gauge("copr_frontend_cached_builds", "Builds in the cache.", registry=registry)
        self.uploads = Gauge("copr_frontend_uploads", "Uploads under way.", registry=registry)

    def record(self, method: str, route: str, code: int, seconds: float) -> None:
        self.requests.labels(method, route, str(code)).inc()
        self.seconds.labels(method, route).observe(seconds)

    def record_api(self, verb: str, _path: str, code: int) -> None:
        """Recorder of the Kubernetes client."""
        self.api_requests.labels(verb, str(code)).inc()

    def count_builds(self, count: Callable[[], int]) -> None:
        self.builds.set_function(count)

    def text(self) -> bytes:
        return generate_latest(self.registry)
