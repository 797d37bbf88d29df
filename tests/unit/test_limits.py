"""The rate limit against a bucket of tokens, and one table in the hands of several processes."""

import os
import subprocess
import sys
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data.middleware import rate_limit
from market_data.middleware.rate_limit import (
    ROWS,
    SECOND,
    SLOTS_PER_BUCKET,
    RateLimiter,
    RateLimitStatus,
    SharedBuckets,
    network,
)

STEP = 1_000


@given(limit=st.integers(1, 20), gaps=st.lists(st.integers(0, 3 * STEP), max_size=200))
def test_it_grants_what_a_bucket_of_tokens_would(limit: int, gaps: list[int]):
    table, now, tokens = SharedBuckets.own(), 1, Fraction(limit)
    for gap in gaps:
        now += gap
        tokens = min(Fraction(limit), tokens + Fraction(gap, STEP))
        granted, ahead = table.advance(7, STEP, STEP * limit, now)
        assert granted == (tokens >= 1)
        if granted:
            tokens -= 1
        assert ahead == (limit - tokens) * STEP


class Clock:
    now = SECOND

    def __call__(self) -> int:
        return self.now


def test_an_allowance_says_what_is_left_and_how_long_to_wait():
    clock = Clock()
    limiter = RateLimiter(3, 60, SharedBuckets.own(), clock)
    assert [limiter.take("10.0.0.1") for _ in range(4)] == [
        RateLimitStatus(granted=True, remaining=2, reset=20, retry=0),
        RateLimitStatus(granted=True, remaining=1, reset=40, retry=0),
        RateLimitStatus(granted=True, remaining=0, reset=60, retry=20),
        RateLimitStatus(granted=False, remaining=0, reset=60, retry=20),
    ]
    clock.now += 19_999_999_999
    assert limiter.take("10.0.0.1") == RateLimitStatus(granted=False, remaining=0, reset=41, retry=1)
    clock.now += 1
    assert limiter.take("10.0.0.1") == RateLimitStatus(granted=True, remaining=0, reset=60, retry=20)
    clock.now += 59 * SECOND
    assert limiter.take("10.0.0.1") == RateLimitStatus(granted=True, remaining=1, reset=21, retry=0)


@pytest.mark.parametrize("limit", [1, 7, 600, 999_983, 1_000_000])
def test_the_whole_limit_may_be_used_at_once(limit: int):
    limiter = RateLimiter(limit, 60, SharedBuckets.own(), Clock())
    tried = min(limit, 5000)
    assert all(limiter.take(1).granted for _ in range(tried))
    assert limiter.take(1).granted == (tried < limit)


def test_keys_and_addresses_are_counted_apart():
    limiter = RateLimiter(1, 60, SharedBuckets.own(), Clock())
    clients = [1, 2, "1", "10.0.0.1", "10.0.0.2", "2001:db8:0:1::5", "2001:db8:0:2::5", ""]
    assert [limiter.take(client).granted for client in clients] == [True] * len(clients)
    assert not any(limiter.take(client).granted for client in clients)
    assert not limiter.take("2001:db8:0:1:ffff::1").granted, "of the same network"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_an_address_counts_as_its_network(address: str, counted: str):
    assert network(address) == counted


def test_where_no_place_is_left_requests_are_let_in():
    table = SharedBuckets.own()
    names = [5 + ROWS * number for number in range(1, SLOTS_PER_BUCKET + 1)]
    for name in names:
        assert table.advance(name, STEP, STEP, 1) == (True, STEP)
    assert [table.advance(5, STEP, STEP, 2) for _ in range(3)] == [(True, STEP)] * 3
    assert [table.advance(name, STEP, STEP, 2)[0] for name in names] == [False] * SLOTS_PER_BUCKET, (
        "and nobody else gains by it"
    )
    assert table.advance(5, STEP, STEP, STEP + 1) == (True, STEP), "in the place of one whose time has passed"
    assert table.advance(5, STEP, STEP, STEP + 2) == (False, STEP - 1)


def test_names_can_not_be_foreseen():
    assert SharedBuckets.own().name("10.0.0.1") != SharedBuckets.own().name("10.0.0.1")


COUNT = """
import os, sys
from market_data.middleware import rate_limit
table = rate_limit.SharedBuckets.shared(os.environ[rate_limit.FILE])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20_000):
    table.advance(7, 1, 10**9, 1)
"""
HAMMER = """
import sys, time
from market_data.middleware import rate_limit
limiter = rate_limit.limiter(500, 2)
print("ready", flush=True)
sys.stdin.readline()
end, granted = time.monotonic() + 1.5, 0
while time.monotonic() < end:
    granted += limiter.take("10.0.0.1").granted
print(granted)
"""


def outputs(program: str) -> list[str]:
    """What four processes print that do the same at the same time."""
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=60)[0] for process in processes]


def test_processes_lose_no_request_of_each_other():
    with rate_limit.shared_table():
        outputs(COUNT)
        assert SharedBuckets.shared(os.environ[rate_limit.FILE]).advance(7, 1, 10**9, 1) == (True, 80_001)
    assert rate_limit.FILE not in os.environ


def test_processes_grant_one_limit_together():
    with rate_limit.shared_table():
        start = time.monotonic()
        granted = sum(int(text) for text in outputs(HAMMER))
        seconds = time.monotonic() - start
    assert 500 + 250 * 1.4 <= granted <= 500 + 250 * seconds + 1


def test_there_is_no_limiter_without_a_limit():
    assert rate_limit.limiter(0, 60) is None
