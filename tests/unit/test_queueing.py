"""The queueing model of the benchmarks, against known values and against a simulation of the queue."""

import heapq
from math import inf
from random import Random

import pytest
from helpers.queueing import Component, first_to_saturate, response_seconds, table, waiting_share


@pytest.mark.parametrize(("servers", "load", "share"), [(1, 0.5, 0.5), (2, 1, 1 / 3), (3, 2, 4 / 9), (10, 8, 0.4092)])
def test_share_of_waiting_requests_is_erlang_c(servers: int, load: float, share: float):
    assert waiting_share(servers, load) == pytest.approx(share, abs=1e-4)


def test_response_time_is_that_of_a_simulated_queue():
    random, servers, load, service = Random(3), 4, 3.2, 0.01
    free, now, total, count = [0.0] * servers, 0.0, 0.0, 200_000
    for _ in range(count):
        now += random.expovariate(load / service)
        end = max(now, heapq.heappop(free)) + random.expovariate(1 / service)
        heapq.heappush(free, end)
        total += end - now
    assert response_seconds(Component("x", servers, load), service) == pytest.approx(total / count, rel=0.05)


def test_component_that_saturates_first_has_the_highest_utilization():
    services, database = Component("services", 8, 1.0), Component("database", 4, 0.9)
    lock = Component("lock", 1, 0.02, scalable=False)
    assert first_to_saturate([services, database, lock]).name == "database"
    assert response_seconds(database.at(10), 0.001) == inf
    assert table([services, database, lock], {"10 times": 10})[-1] == (
        "| 10 times | 125%, needs 15 | 225%, needs 13 | 20%, fits | database |"
    )
