"""Rate limiter: compared with a token bucket, and shared by several processes."""

import os
import subprocess
import sys
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_data.middleware import shared_buckets
from market_data.middleware.rate_limit import SECOND, RateLimiter, RateLimitStatus, network
from market_data.middleware.shared_buckets import BUCKETS, SLOTS_PER_BUCKET, SharedBuckets

STEP = 1_000


@given(limit=st.integers(1, 20), gaps=st.lists(st.integers(0, 3 * STEP), max_size=200))
def test_grants_the_same_requests_as_a_token_bucket(limit: int, gaps: list[int]):
    table, now, tokens = SharedBuckets.private(), 1, Fraction(limit)
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


def test_status_has_the_remaining_requests_and_the_waiting_times():
    clock = Clock()
    limiter = RateLimiter(3, 60, SharedBuckets.private(), clock)
    assert [limiter.count("10.0.0.1") for _ in range(4)] == [
        RateLimitStatus(granted=True, remaining=2, reset=20, retry=0),
        RateLimitStatus(granted=True, remaining=1, reset=40, retry=0),
        RateLimitStatus(granted=True, remaining=0, reset=60, retry=20),
        RateLimitStatus(granted=False, remaining=0, reset=60, retry=20),
    ]
    clock.now += 19_999_999_999
    assert limiter.count("10.0.0.1") == RateLimitStatus(granted=False, remaining=0, reset=41, retry=1)
    clock.now += 1
    assert limiter.count("10.0.0.1") == RateLimitStatus(granted=True, remaining=0, reset=60, retry=20)
    clock.now += 59 * SECOND
    assert limiter.count("10.0.0.1") == RateLimitStatus(granted=True, remaining=1, reset=21, retry=0)


@pytest.mark.parametrize("limit", [1, 7, 600, 999_983, 1_000_000])
def test_the_whole_limit_can_be_used_in_one_burst(limit: int):
    limiter = RateLimiter(limit, 60, SharedBuckets.private(), Clock())
    tried = min(limit, 5000)
    assert all(limiter.count(1).granted for _ in range(tried))
    assert limiter.count(1).granted == (tried < limit)


def test_each_key_and_each_network_has_its_own_limit():
    limiter = RateLimiter(1, 60, SharedBuckets.private(), Clock())
    clients = [1, 2, "1", "10.0.0.1", "10.0.0.2", "2001:db8:0:1::5", "2001:db8:0:2::5", ""]
    assert [limiter.count(client).granted for client in clients] == [True] * len(clients)
    assert not any(limiter.count(client).granted for client in clients)
    assert not limiter.count("2001:db8:0:1:ffff::1").granted, "another address of the same network"


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_addresses_are_counted_by_network(address: str, counted: str):
    assert network(address) == counted


def test_unknown_clients_are_admitted_when_their_bucket_is_full():
    table = SharedBuckets.private()
    names = [5 + BUCKETS * number for number in range(1, SLOTS_PER_BUCKET + 1)]
    for name in names:
        assert table.advance(name, STEP, STEP, 1) == (True, STEP)
    assert [table.advance(5, STEP, STEP, 2) for _ in range(3)] == [(True, STEP)] * 3
    assert [table.advance(name, STEP, STEP, 2)[0] for name in names] == [False] * SLOTS_PER_BUCKET, (
        "clients in the table are still limited"
    )
    assert table.advance(5, STEP, STEP, STEP + 1) == (True, STEP), "an expired slot is reused"
    assert table.advance(5, STEP, STEP, STEP + 2) == (False, STEP - 1)


def test_hashes_of_clients_are_not_predictable():
    assert SharedBuckets.private().hash_key("10.0.0.1") != SharedBuckets.private().hash_key("10.0.0.1")


COUNT = """
import os, sys
from market_data.middleware import shared_buckets
table = shared_buckets.SharedBuckets.shared(os.environ[shared_buckets.FILE])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20_000):
    table.advance(7, 1, 10**9, 1)
"""
HAMMER = """
import sys, time
from market_data.middleware.rate_limit import RateLimiter
from market_data.middleware.shared_buckets import open_buckets
limiter = RateLimiter(500, 2, open_buckets())
print("ready", flush=True)
sys.stdin.readline()
end, granted = time.monotonic() + 1.5, 0
while time.monotonic() < end:
    granted += limiter.count("10.0.0.1").granted
print(granted)
"""


def outputs(program: str) -> list[str]:
    """Run a program in four processes at the same time, and return their outputs."""
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


def test_concurrent_processes_lose_no_update():
    with shared_buckets.shared_buckets_file():
        outputs(COUNT)
        assert SharedBuckets.shared(os.environ[shared_buckets.FILE]).advance(7, 1, 10**9, 1) == (True, 80_001)
    assert shared_buckets.FILE not in os.environ


def test_processes_share_one_limit():
    with shared_buckets.shared_buckets_file():
        start = time.monotonic()
        granted = sum(int(text) for text in outputs(HAMMER))
        seconds = time.monotonic() - start
    assert 500 + 250 * 1.4 <= granted <= 500 + 250 * seconds + 1
