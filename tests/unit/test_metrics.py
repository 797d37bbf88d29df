"""What requests leave behind, without a service."""

import random

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from market_data.telemetry.metrics import Durations


def test_many_observations_at_once_count_as_each_by_itself():
    seconds = [0.005, 0.0050001, 0.01, 0.0, 1.0, 99.0, *(random.Random(5).expovariate(20) for _ in range(100))]
    one, all_at_once = CollectorRegistry(), CollectorRegistry()
    buckets = (0.005, 0.01, 0.1, 1)
    each = Histogram("took", "Time.", ["path"], buckets=buckets, registry=one).labels("/")
    for number in seconds:
        each.observe(number)
    durations = Durations("took", "Time.", ["path"], buckets=buckets, registry=all_at_once).labels("/")
    durations.observe_all(seconds[:50])
    durations.observe_all(seconds[50:])
    assert _without_sum(all_at_once) == _without_sum(one)


def _without_sum(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_sum" not in line]
