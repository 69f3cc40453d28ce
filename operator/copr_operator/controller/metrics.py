"""Metrics of the controller, in a registry of its own so that several controllers fit into one test process."""

import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_NAMESPACED = re.compile(r"/(?:apis/[^/]+/[^/]+|api/v1)/(?:namespaces/[^/]+/)?([a-z]+)(?:/[^/]+)?(?:/([a-z]+))?$")


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "copr_reconcile_total", "Reconciliations.", ["kind", "result"], registry=self.registry
        )  # fmt: skip
        self.seconds = Histogram(
            "copr_reconcile_seconds", "Time of one reconciliation.", ["kind"], registry=self.registry
        )  # fmt: skip
        self.queue_depth = Gauge("copr_queue_depth", "Keys that wait for a worker.", registry=self.registry)
        self.queue_oldest = Gauge(
            "copr_queue_oldest_seconds", "How long the oldest key has waited.", registry=self.registry
        )  # fmt: skip
        self.requests = Counter(
            "copr_api_requests_total", "Requests to the API server.", ["verb", "resource", "code"],
            registry=self.registry,
        )  # fmt: skip
        self.builds = Gauge("copr_builds", "Builds that have not ended.", ["state"], registry=self.registry)
        self.ended = Counter(
            "copr_builds_ended_total", "Builds that ended.", ["state", "reason"], registry=self.registry
        )
        self.ghosts = Counter(
            "copr_resync_ghosts_total", "Objects whose deletion the watch missed.", registry=self.registry
        )  # fmt: skip
        self.active = Gauge("copr_controller_active", "1 when this controller holds the Lease.", registry=self.registry)

    def record_request(self, verb: str, path: str, status: int) -> None:
        """Counts a request under its resource's plural (and subresource), without names."""
        match = _NAMESPACED.search(path)
        resource = "/".join(part for part in match.groups() if part) if match else "other"
        self.requests.labels(verb, resource, str(status)).inc()
