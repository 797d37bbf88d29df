"""Counting and logging of buffered requests."""

import asyncio
import random
from typing import Any

import pytest
from prometheus_client import REGISTRY

from market_data.telemetry import request_log
from market_data.telemetry.logging import RequestLine
from market_data.telemetry.request_log import RequestLog

BUCKETS = ("0.001", "0.005", "0.01", "0.1", "1.0", "10.0", "+Inf")


def test_buffered_requests_are_counted_like_single_ones(monkeypatch: pytest.MonkeyPatch):
    written: list[RequestLine] = []
    monkeypatch.setattr(request_log, "write", written.extend)
    seconds = [0.005, 0.0050001, 0.01, 0.0, 1.0, 99.0, *(random.Random(5).expovariate(20) for _ in range(100))]
    labels = {"method": "GET", "path": "/request-log"}
    scope: Any = {"type": "http", "method": "GET", "path": "/request-log/1", "path_template": "/request-log", "client": None}

    async def add_all() -> None:
        log = RequestLog()
        for half in (seconds[:50], seconds[50:]):
            for number in half:
                log.in_progress += 1
                log.add(scope, 200, number)
            log.flush()
        assert log.in_progress == 0

    asyncio.run(add_all())
    name = "market_data_request_duration_seconds"
    for bound in BUCKETS:
        expected = sum(number <= float(bound) for number in seconds)
        assert REGISTRY.get_sample_value(f"{name}_bucket", labels | {"le": bound}) == expected
    assert REGISTRY.get_sample_value(f"{name}_sum", labels) == pytest.approx(sum(seconds))
    assert REGISTRY.get_sample_value("market_data_requests_total", labels | {"status_code": "200"}) == len(seconds)
    assert [line.duration_ms for line in written] == [int(number * 1e6) / 1000 for number in seconds]
