"""Rate limit of a running service: shared by its workers, per real client address."""

import json
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from helpers.service import Service, error_line, running


def statuses(address: str, requests: int) -> Counter[int]:
    """Count the statuses of requests that each have a new connection, so that both workers receive some."""
    with httpx.Client(base_url=address, headers={"Connection": "close"}, timeout=30) as client:
        return Counter(client.get("/nothing").status_code for _ in range(requests))


def clients(service: Service) -> set[str]:
    """Return the client addresses of requests to /nothing in the log."""
    lines = [json.loads(line) for line in service.text.splitlines() if line.startswith("{")]
    return {line["client"] for line in lines if line.get("path") == "/nothing"}


def test_workers_share_a_limit(database_url: str, tmp_path: Path):
    with running(
        tmp_path,
        "--workers",
        "2",
        DATABASE_URL=database_url,
        FEED_ENABLED="false",
        RATE_LIMIT="60",
        RATE_LIMIT_SECONDS="600",
    ) as (service, client):
        started = time.monotonic()
        used = 60 - int(client.get("/nothing").headers["ratelimit-remaining"])  # the start requests `/`
        assert used <= 10
        found = statuses(service.wait_until_ready(), 120)
        back = (time.monotonic() - started) / 10
        assert 60 - used <= found[404] <= 60 - used + back + 1
        assert found[404] + found[429] == 120
        (file,) = {_environment(worker)["MARKET_DATA_LIMITS_FILE"] for worker in service.workers()}
        assert (Path(file).stat().st_mode & 0o077, Path(file).parent.stat().st_mode & 0o077) == (0o044, 0)
    assert not Path(file).parent.exists()


def _environment(process: int) -> dict[str, str]:
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def test_forwarded_addresses_of_untrusted_clients_are_ignored(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false", RATE_LIMIT="50") as (service, client):
        left = [
            int(client.get("/nothing", headers={"X-Forwarded-For": f"203.0.113.{n}"}).headers["ratelimit-remaining"])
            for n in range(3)
        ]
        assert left == [left[0], left[0] - 1, left[0] - 2]
    assert clients(service) == {"127.0.0.1"}


@pytest.mark.parametrize("trusted", ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8"])
def test_a_trusted_proxy_forwards_the_client_address(database_url: str, tmp_path: Path, trusted: str):
    settings = {"DATABASE_URL": database_url, "RATE_LIMIT": "50", "TRUSTED_PROXIES": trusted}
    with running(tmp_path, **settings) as (service, client):
        for address in ("203.0.113.7", "198.51.100.1, 203.0.113.8", "2001:db8::1"):
            answer = client.get("/nothing", headers={"X-Forwarded-For": address})
            assert answer.headers["ratelimit-remaining"] == "49", "each address has its own limit"
        answer = client.get("/nothing", headers={"X-Forwarded-For": "203.0.113.7"})
        assert answer.headers["ratelimit-remaining"] == "48"
    assert clients(service) == {"203.0.113.7", "203.0.113.8", "2001:db8::1"}


@pytest.mark.parametrize("value", ["10.0.0.1/8", "proxy.example.com", "*", "10.0.0.0/8,300.1.1.1"])
def test_an_invalid_proxy_is_a_settings_error(value: str):
    assert "TRUSTED_PROXIES" in error_line(
        "serve", "--port", "0", DATABASE_URL="postgresql:///nowhere", TRUSTED_PROXIES=value
    )
