"""Settings from the environment and from files, at a running service."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from helpers.api_keys import store_key
from helpers.service import Process, command, error_line, eventually, running

QUIET = {"FEED_ENABLED": "false"}


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@contextmanager
def served(folder: Path, *arguments: str, **environment: str) -> Iterator[Process]:
    process = Process(folder, "serve", *arguments, **QUIET, **environment)
    try:
        yield process
    finally:
        process.end()


def test_host_port_and_workers_come_from_the_environment(database_url: str, tmp_path: Path):
    port = free_port()
    environment = {"DATABASE_URL": database_url, "LISTEN_HOST": "127.0.0.2", "PORT": port, "WORKERS": "2"}
    with served(tmp_path, **environment) as process:
        eventually(lambda: f"ready on http://127.0.0.2:{port}" in process.text, 60)
        assert httpx.get(f"http://127.0.0.2:{port}/symbols").status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/symbols")
        assert len(process.descendants()) >= 2


def test_options_win_over_the_environment(database_url: str, tmp_path: Path):
    port = free_port()
    options = ("--host", "127.0.0.1", "--port", port, "--workers", "1")
    with served(tmp_path, *options, DATABASE_URL=database_url, LISTEN_HOST="127.0.0.2", PORT="1", WORKERS="64") as process:
        eventually(lambda: f"ready on http://127.0.0.1:{port}" in process.text, 60)
        assert process.descendants() == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_url_of_the_database_may_be_in_a_file(database_url: str, tmp_path: Path, workers: str):
    secret = tmp_path / "url"
    secret.write_text(f"{database_url}\n")
    with running(tmp_path, "--workers", workers, DATABASE_URL_FILE=str(secret), **QUIET) as (service, client):
        assert client.get("/health").json()["database"] == "healthy"
        for process in (service.process.pid, *service.descendants()):
            assert database_url.encode() not in Path(f"/proc/{process}/environ").read_bytes()
    assert command("migrate", DATABASE_URL_FILE=str(secret)).returncode == 0


def test_a_secret_in_a_file_that_can_not_be_read_ends_the_start_with_one_line(tmp_path: Path):
    url = "postgresql://user:s3cret@127.0.0.1:9/none"
    missing, empty, binary = tmp_path / "missing", tmp_path / "empty", tmp_path / "binary"
    empty.write_text(" \n")
    binary.write_bytes(b"\xff\xfe")
    for name in ("DATABASE_URL", "DATABASE_DIRECT_URL", "DATABASE_READ_URL"):
        for path, reason in (
            (missing, "No such file"),
            (tmp_path, "Is a directory"),
            (empty, "is empty"),
            (binary, "not a text file"),
        ):
            line = error_line("serve", "--port", "0", **{f"{name}_FILE": str(path)})
            assert line.startswith(f"market-data: {name}_FILE=")
            assert reason in line
        line = error_line("migrate", **{name: url, f"{name}_FILE": str(empty)})
        assert f"{name} and {name}_FILE are both set" in line
        assert "s3cret" not in line


def test_the_key_of_a_client_may_be_in_a_file(database_url: str, tmp_path: Path):
    secret = tmp_path / "key"
    secret.write_text(store_key(database_url, "read") + "\n")
    with running(tmp_path, DATABASE_URL=database_url, AUTH="required", **QUIET) as (_, client):
        url = str(client.base_url)
        assert "MARKET_DATA_KEY, which is not set" in command("status", "--url", url).stderr
        assert command("status", "--url", url, MARKET_DATA_KEY_FILE=str(secret)).stderr == ""
    line = error_line("status", "--url", url, MARKET_DATA_KEY_FILE=str(secret), MARKET_DATA_KEY="md_1")
    assert "MARKET_DATA_KEY and MARKET_DATA_KEY_FILE are both set" in line


def test_a_misspelt_setting_causes_a_warning_at_the_start(database_url: str, tmp_path: Path):
    misspelt = {"LOG_LEVLE": "debug", "MARKET_DATA_PORT": "tcp://10.96.7.8:8000"}
    with running(tmp_path, DATABASE_URL=database_url, **misspelt, **QUIET) as (service, client):
        assert client.get("/symbols").status_code == 200
        warnings = [line for line in service.text.splitlines() if "did you mean" in line]
    assert warnings == ["market-data: LOG_LEVLE is not a setting, and is ignored; did you mean LOG_LEVEL?"]
