"""What the service counts about itself, for `GET /metrics`.

With several worker processes each of them writes its own files in the folder PROMETHEUS_MULTIPROC_DIR, which has to be set
before this module is imported; whichever worker is asked adds them up. What lies in the database is not counted but sampled,
by each worker for itself: `sampler`.
"""

import os
from typing import Final

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client.registry import Collector

__all__ = [
    "FEED_ERRORS",
    "FOLDER",
    "MEDIA_TYPE",
    "POOL_CONNECTIONS",
    "POOL_WAITING",
    "REQUESTS",
    "REQUEST_SECONDS",
    "RUNNING_REQUESTS",
    "STREAM_CLIENTS",
    "STREAM_DROPPED",
    "TRADES_INGESTED",
    "exposition",
    "forget",
    "shared",
]

disable_created_metrics()

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that makes the metrics those of several processes."""

MEDIA_TYPE: Final = "text/plain; version=0.0.4"
"""Of Prometheus' text format, as each Prometheus reads it."""


REQUESTS: Final = Counter(
    "market_data_requests_total",
    "Requests answered; a stream counts once it has begun.",
    ["method", "path", "status_code"],
)
REQUEST_SECONDS: Final = Histogram(
    "market_data_request_duration_seconds",
    "Time until an answer was handed over, without streams, which end when their client leaves.",
    ["method", "path"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RUNNING_REQUESTS: Final = Gauge(
    "market_data_requests_in_progress",
    "Requests that are being answered now, without streams that have begun.",
    multiprocess_mode="livesum",
)
POOL_CONNECTIONS: Final = Gauge(
    "market_data_pool_connections",
    "Connections of the pool that requests take theirs from.",
    ["state"],
    multiprocess_mode="livesum",
)
POOL_WAITING: Final = Gauge(
    "market_data_pool_waiting", "Requests that wait for a connection of the pool.", multiprocess_mode="livesum"
)
TRADES_INGESTED: Final = Counter("market_data_trades_ingested_total", "Trades that the feed of this service has stored.")
FEED_ERRORS: Final = Counter("market_data_feed_errors_total", "Attempts of the feed that ended in an error.")
STREAM_CLIENTS: Final = Gauge(
    "market_data_stream_clients", "Clients that listen to a stream now.", ["transport"], multiprocess_mode="livesum"
)
STREAM_DROPPED: Final = Counter(
    "market_data_stream_dropped_total", "Clients of streams that the service has cut off.", ["reason"]
)

# There from the start, at 0: a series that begins with its first event hides it from `rate()`.
STREAM_CLIENTS.labels("sse")
STREAM_CLIENTS.labels("websocket")
STREAM_DROPPED.labels("slow")


def shared() -> bool:
    """Whether these are the metrics of several processes."""
    return FOLDER in os.environ


def exposition(sampled: Collector) -> bytes:
    """Everything in Prometheus' text format: what this process or all processes have counted, and what was sampled."""
    counts = REGISTRY
    if shared():
        counts = CollectorRegistry()
        multiprocess.MultiProcessCollector(counts)  # type: ignore[no-untyped-call]  # the library has no types there
    samples = CollectorRegistry()
    samples.register(sampled)
    return generate_latest(counts) + generate_latest(samples)


def forget(process_id: int) -> None:
    """Let what a process that is gone had at the time (clients, connections) no longer count, unlike what it has done."""
    multiprocess.mark_process_dead(process_id)  # type: ignore[no-untyped-call]  # the library has no types there
