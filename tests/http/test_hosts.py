"""The service answers requests to its own names only: a page of another site can give its name the service's address."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from helpers.raw_http import exchange, statuses
from helpers.service import running
from helpers.support import create_patient_app, serving

from market_data.errors import SettingsError
from market_data.settings import Settings, read_settings

ALLOWED = "prices.example.com, *.internal.example, 10.0.0.0/8, fd00::/8"

KEY = b64encode(b"0123456789abcdef").decode()


@pytest.fixture(scope="module")
def address(settings: Settings) -> Iterator[str]:
    with serving(create_patient_app(msgspec.structs.replace(settings, allowed_hosts=ALLOWED))) as address:
        yield address


def status(address: str, *hosts: str, path: str = "/symbols", version: str = "1.1", headers: str = "") -> int:
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    return statuses(exchange(address, f"GET {path} HTTP/{version}\r\n{lines}{headers}Connection: close\r\n\r\n".encode()))[0]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("prices.example.com", 200),
        ("Prices.Example.COM.:8000", 200),
        ("a.b.internal.example", 200),
        ("10.1.2.3:8000", 200),
        ("[::ffff:10.1.2.3]", 200),
        ("[fd00::1]:8000", 200),
        ("localhost:8000", 200),
        ("grafana.localhost", 200),
        ("127.0.0.1:1", 200),
        ("127.9.9.9", 200),
        ("[::1]", 200),
        ("evil.example", 421),
        ("internal.example", 421),
        ("evilinternal.example", 421),
        ("prices.example.com.evil.example", 421),
        ("notlocalhost", 421),
        ("127.0.0.1.evil.example", 421),
        ("11.0.0.1", 421),
        ("2130706433", 421),
        ("[fe00::1]", 421),
        ("*", 421),
    ],
)
def test_a_request_to_another_host_is_421(address: str, host: str, expected: int):
    assert status(address, host) == expected
    upgrade = f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    if expected == 421:
        opening = f"GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n{upgrade}\r\n".encode()
        assert statuses(exchange(address, opening)) == [421]


def test_the_problem_names_the_host_and_the_setting(address: str):
    response = exchange(address, b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert b"application/problem+json" in response
    assert b"The service is not known as evil.example; its operator can add the name to ALLOWED_HOSTS." in response
    long = exchange(address, b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (b"a" * 5000))
    assert statuses(long) == [421]
    assert b"a" * 101 not in long


def test_probes_by_address_are_answered(address: str):
    for path in ("/health/live", "/health/ready"):
        assert status(address, "192.0.2.1:8000", path=path) == 200
    assert status(address, "192.0.2.1:8000", path="/health") == 421


def test_a_request_has_one_host(address: str):
    assert status(address) == 400
    assert status(address, "") == 400
    assert status(address, "localhost", "localhost") == 400
    assert status(address, "localhost", path="/health/live", version="0.9") == 400
    opening = f"GET /ws HTTP/1.1\r\nHost:\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n"
    assert statuses(exchange(address, f"{opening}Sec-WebSocket-Version: 13\r\n\r\n".encode())) == [400]
    assert exchange(address, b"GET /symbols HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert exchange(address, b"GET /health/live\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_without_the_setting_all_hosts_are_allowed(settings: Settings):
    with serving(create_patient_app(settings)) as address:
        assert status(address, "evil.example") == 200
    with serving(create_patient_app(msgspec.structs.replace(settings, allowed_hosts="*"))) as address:
        assert status(address, "evil.example") == status(address, "192.0.2.1") == 200


@pytest.mark.parametrize(
    ("host", "setting", "foreign"),
    [
        ("127.0.0.1", "", 421),
        ("::1", "", 421),
        ("0.0.0.0", "", 200),
        ("0.0.0.0", "prices.example.com", 421),
        ("::1", "*", 200),
    ],
)
def test_a_service_on_loopback_allows_loopback_names_only(
    database_url: str, tmp_path: Path, host: str, setting: str, foreign: int
):
    settings = {"DATABASE_URL": database_url, "FEED_ENABLED": "false", "ALLOWED_HOSTS": setting}
    with running(tmp_path, "--host", host, **settings) as (service, client):
        assert client.get("/symbols").status_code == 200
        assert client.get("/symbols", headers={"Host": "evil.example"}).status_code == foreign, service.text


@pytest.mark.parametrize(
    "wrong", ["http://example.com", "example.com:8000", "a b", "*.*.example", "exam*ple.com", "-x-", "."]
)
def test_an_invalid_name_ends_the_start(wrong: str):
    with pytest.raises(SettingsError, match=r"^ALLOWED_HOSTS=.*without scheme and port"):
        read_settings({"ALLOWED_HOSTS": f"localhost, {wrong}"})
