"""Load shedding: the number of concurrent requests that a worker admits."""

import asyncio
import logging
from bisect import bisect
from typing import Any

import pytest
from litestar.types import Receive, Scope, Send

from market_data.middleware import load_shedding
from market_data.middleware.load_shedding import (
    MAX_QUEUE_SECONDS,
    MIN_CONCURRENT,
    REJECTION_WEIGHT,
    SAMPLE_SIZE,
    LoadShedder,
)
from market_data.telemetry import logging as telemetry_logging
from market_data.telemetry.logging import WARNING_SECONDS, ThrottledWarning


class Clock:
    """Replaces `time` in the modules: wall clock and processor time."""

    now = 1000.0
    processor = 10.0

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return self.processor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(load_shedding, "time", clock)
    monkeypatch.setattr(telemetry_logging, "time", clock)
    return clock


@pytest.fixture
def shedder() -> LoadShedder:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    return LoadShedder(app)


def send_requests(shedder: LoadShedder, clock: Clock, count: int, processor: float, *, idle: float = 0.0) -> None:
    """Send requests that each take `processor` seconds of processor time and wait for `idle` seconds."""
    for _ in range(count):
        assert shedder.admits(0)
        clock.processor += processor
        clock.now += processor + idle


def max_in_flight(shedder: LoadShedder) -> int:
    """Return the largest number in flight with which one more request is admitted. A bisection, because each call counts."""
    return bisect(range(2000), False, key=lambda in_flight: not shedder.admits(in_flight)) - 1


def test_admits_as_many_requests_as_fit_into_the_maximum_queue_time(shedder: LoadShedder, clock: Clock):
    assert shedder.admits(100_000), "nothing is measured yet"
    send_requests(shedder, clock, 100 * SAMPLE_SIZE, 0.001)
    assert max_in_flight(shedder) == pytest.approx(MAX_QUEUE_SECONDS / 0.001, abs=2)


def test_always_admits_the_minimum(shedder: LoadShedder, clock: Clock):
    send_requests(shedder, clock, 100 * SAMPLE_SIZE, 0.02)
    assert max_in_flight(shedder) == MIN_CONCURRENT


@pytest.mark.parametrize("responds", [True, False])
def test_requests_that_have_ended_are_no_longer_in_flight(clock: Clock, responds: bool):
    admitted = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal admitted
        if scope["path"] == "/failing":
            if responds:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ConnectionError
        admitted += 1
        await asyncio.sleep(3600)

    async def send_both_kinds() -> None:
        def request(path: str) -> Any:
            return shedder({"type": "http", "method": "GET", "path": path}, unused, ignore)  # type: ignore[arg-type]

        for _ in range(100):
            with pytest.raises(ConnectionError):
                await request("/failing")
        tasks = [asyncio.create_task(request("/waiting")) for _ in range(2 * MIN_CONCURRENT)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    shedder = LoadShedder(app)
    send_requests(shedder, clock, 100 * SAMPLE_SIZE, 0.02)
    asyncio.run(send_both_kinds())
    assert admitted == MIN_CONCURRENT + 1


async def unused() -> Any:
    raise NotImplementedError


async def ignore(message: Any) -> None:
    pass


def test_processor_time_between_rare_requests_is_not_counted(shedder: LoadShedder, clock: Clock):
    send_requests(shedder, clock, 100 * SAMPLE_SIZE, 0.001)
    send_requests(shedder, clock, 100 * SAMPLE_SIZE, 0.05, idle=1)
    assert max_in_flight(shedder) == pytest.approx(MAX_QUEUE_SECONDS / 0.001, abs=2)


def test_waiting_is_not_counted_as_processor_time(shedder: LoadShedder, clock: Clock):
    send_requests(shedder, clock, 100 * SAMPLE_SIZE, 0.001, idle=0.02)
    assert max_in_flight(shedder) == pytest.approx(MAX_QUEUE_SECONDS / 0.001, abs=2)


def test_rejections_do_not_raise_the_measured_cost_of_a_request(shedder: LoadShedder, clock: Clock):
    """Otherwise the processor time of rejections would lower the limit further and further while the database is slow."""
    send_requests(shedder, clock, 100 * SAMPLE_SIZE, 0.001)
    for _ in range(10_000):
        assert not shedder.admits(100_000)
        clock.processor += 0.001 * REJECTION_WEIGHT
        clock.now += 0.001 * REJECTION_WEIGHT
    assert max_in_flight(shedder) == pytest.approx(MAX_QUEUE_SECONDS / 0.001, abs=2)


def test_rejections_are_logged_at_intervals(clock: Clock, caplog: pytest.LogCaptureFixture):
    warning = ThrottledWarning(logging.getLogger())
    with caplog.at_level(logging.WARNING):
        for _ in range(30):
            warning.count("300 in flight")
            clock.now += WARNING_SECONDS / 10
    assert [record.message for record in caplog.records] == [
        "shedding load: rejected a request (300 in flight)",
        "shedding load: rejected 10 requests in 10 s (300 in flight)",
        "shedding load: rejected 10 requests in 10 s (300 in flight)",
    ]
