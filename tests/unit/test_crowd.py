"""How many requests may be under way at once."""

import logging
from bisect import bisect

import pytest

from market_data.middleware import load_shedding
from market_data.middleware.load_shedding import (
    FEW,
    LONGEST_SECONDS,
    REFUSAL,
    SAMPLE,
    LoadShedder,
)
from market_data.telemetry import logging as telemetry_logging
from market_data.telemetry.logging import WARNING_SECONDS, ThrottledWarning


class Clock:
    """The module's time: of the wall, and of the processor."""

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


def take(crowd: LoadShedder, clock: Clock, requests: int, processor: float, *, idle: float = 0.0) -> None:
    """Requests each of which takes so many seconds of the processor, and waits for others as long as `idle`."""
    for _ in range(requests):
        assert crowd.takes(0)
        clock.processor += processor
        clock.now += processor + idle


def most(crowd: LoadShedder) -> int:
    """The most that may be under way when another one comes, found by few questions, for each counts as a request."""
    return bisect(range(2000), False, key=lambda under_way: not crowd.takes(under_way)) - 1


def test_a_crowd_is_as_large_as_what_is_answered_soon(clock: Clock):
    crowd = LoadShedder()
    assert crowd.takes(100_000), "nothing is known yet"
    take(crowd, clock, 100 * SAMPLE, 0.001)
    assert most(crowd) == pytest.approx(LONGEST_SECONDS / 0.001, abs=2)


def test_few_are_never_too_many(clock: Clock):
    crowd = LoadShedder()
    take(crowd, clock, 100 * SAMPLE, 0.02)
    assert most(crowd) == FEW


def test_what_a_worker_does_between_rare_requests_is_not_theirs(clock: Clock):
    crowd = LoadShedder()
    take(crowd, clock, 100 * SAMPLE, 0.001)
    take(crowd, clock, 100 * SAMPLE, 0.05, idle=1)
    assert most(crowd) == pytest.approx(LONGEST_SECONDS / 0.001, abs=2)


def test_waiting_is_not_work(clock: Clock):
    crowd = LoadShedder()
    take(crowd, clock, 100 * SAMPLE, 0.001, idle=0.02)
    assert most(crowd) == pytest.approx(LONGEST_SECONDS / 0.001, abs=2)


def test_refusals_make_no_request_dearer(clock: Clock):
    """Else, where the database is slow, ever fewer would be taken, for the processor is busy with refusing the others."""
    crowd = LoadShedder()
    take(crowd, clock, 100 * SAMPLE, 0.001)
    for _ in range(10_000):
        assert not crowd.takes(100_000)
        clock.processor += 0.001 * REFUSAL
        clock.now += 0.001 * REFUSAL
    assert most(crowd) == pytest.approx(LONGEST_SECONDS / 0.001, abs=2)


def test_refusals_are_told_now_and_then(clock: Clock, caplog: pytest.LogCaptureFixture):
    warning = ThrottledWarning(logging.getLogger())
    with caplog.at_level(logging.WARNING):
        for _ in range(30):
            warning.count("300 are under way")
            clock.now += WARNING_SECONDS / 10
    assert [record.message for record in caplog.records] == [
        f"shedding load: rejected {number} requests (300 are under way)" for number in (1, 10, 10)
    ]
