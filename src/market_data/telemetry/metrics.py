"""Metrics of the service, for `GET /metrics`.

Several workers each write files in the folder PROMETHEUS_MULTIPROC_DIR, which must be set before this module is imported;
the worker that answers adds them up. Metrics of the database are sampled: see `database.metrics_collector`.
"""

import os
from functools import cache
from typing import Any, Final, get_args

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.registry import Collector

from market_data.trade_validation import RejectionReason

disable_created_metrics()

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder that workers share."""

MEDIA_TYPE: Final = "text/plain; version=0.0.4"
"""Prometheus' text format, in the version that every Prometheus reads."""


REQUESTS: Final = Counter(
    "market_data_requests_total",
    "Finished requests; a stream counts when it opens.",
    ["method", "path", "status_code"],
)
REQUEST_SECONDS: Final = Histogram(
    "market_data_request_duration_seconds",
    "Time from the request to the end of the response, without streams.",
    ["method", "path"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RUNNING_REQUESTS: Final = Gauge(
    "market_data_requests_in_progress",
    "Requests in progress, without open streams.",
    multiprocess_mode="livesum",
)
POOL_CONNECTIONS: Final = Gauge(
    "market_data_pool_connections",
    "Connections of the database pool, by state.",
    ["state"],
    multiprocess_mode="livesum",
)
POOL_WAITING: Final = Gauge(
    "market_data_pool_waiting", "Requests that wait for a connection of the database pool.", multiprocess_mode="livesum"
)
TRADES_INGESTED: Final = Counter("market_data_trades_ingested_total", "Trades stored by the feed of this service.")
TRADES_WRITTEN: Final = Counter(
    "market_data_trades_written_total", "Trades stored, corrected or cancelled over HTTP.", ["action"]
)
TRADES_REJECTED: Final = Counter("market_data_trades_rejected_total", "Trades rejected over HTTP.", ["reason"])
REQUESTS_REJECTED: Final = Counter(
    "market_data_requests_rejected_total", "Requests and WebSocket handshakes answered with an error.", ["reason"]
)
FEED_ERRORS: Final = Counter("market_data_feed_errors_total", "Attempts of the feed that failed.")
STREAM_CLIENTS: Final = Gauge(
    "market_data_stream_clients", "Clients of streams.", ["transport"], multiprocess_mode="livesum"
)
STREAM_DROPPED: Final = Counter(
    "market_data_stream_dropped_total", "Clients of streams that the service disconnected.", ["reason"]
)
REPLICA_USED: Final = Gauge(
    "market_data_replica_used",
    "1 while reads go to the replica, 0 while they go to the primary instead.",
    ["replica"],
    multiprocess_mode="livemin",
)
REPLICA_LAG: Final = Gauge(
    "market_data_replica_lag_bytes",
    "WAL that the replica has yet to replay; NaN while it can't be reached.",
    ["replica"],
    multiprocess_mode="livemax",
)
HISTORY_LOST: Final = Counter(
    "market_data_history_lost_total", "Times the database lacked commits that this service had already seen."
)
WORKERS_REPLACED: Final = Counter("market_data_workers_replaced_total", "Worker processes that ended and were replaced.")

# Create the series at 0: `rate()` misses the first event of a series that starts with it.
STREAM_CLIENTS.labels("sse")
STREAM_CLIENTS.labels("websocket")
STREAM_DROPPED.labels("slow")
for action in ("stored", "corrected", "cancelled"):
    TRADES_WRITTEN.labels(action)
for reason in get_args(RejectionReason):
    TRADES_REJECTED.labels(reason)


def shared() -> bool:
    """Return True if several workers share the metrics."""
    return FOLDER in os.environ


def exposition(sampled: Collector) -> bytes:
    """Return the counts of all workers and the samples of the database, in Prometheus' text format."""
    counts = REGISTRY
    if shared():
        counts = CollectorRegistry()
        multiprocess.MultiProcessCollector(counts)  # type: ignore[no-untyped-call]  # the library has no types there
    samples = CollectorRegistry()
    samples.register(sampled)
    return generate_latest(counts) + generate_latest(samples)


def count_replaced_worker(process_id: int) -> None:
    """Drop the gauges (clients, connections) of a worker that has ended, keep its counters, and count it."""
    multiprocess.mark_process_dead(process_id)  # type: ignore[no-untyped-call]  # the library has no types there
    _replaced_workers().inc(1)


@cache
def _replaced_workers() -> Any:
    """Return WORKERS_REPLACED in a file of the supervisor, which has imported the library before the folder existed."""
    (metric,) = WORKERS_REPLACED.collect()
    library: Any = values  # which has no types
    shared_value = library.MultiProcessValue()
    return shared_value(metric.type, metric.name, f"{metric.name}_total", (), (), metric.documentation)
