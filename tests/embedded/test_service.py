"""`market-data serve` with the embedded engine, as on a laptop."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from helpers.service import Service, command, error_line, eventually, is_running, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folder that the tests of this module share, because its creation takes seconds."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    return {"MARKET_DATA_HOME": str(folder), "EMBEDDED_PORT": "0", "INGESTION_INTERVAL_SECONDS": "0.2"}


@pytest.fixture
def serving(environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[Service, httpx.Client]]:
    with running(tmp_path, **environment) as (service, client):
        eventually(lambda: client.get("/price?symbol=AAPL").status_code == 200)
        yield service, client


def _conninfo(service: Service) -> str:
    line = eventually(lambda: next((line for line in service.text.splitlines() if "psql '" in line), None))
    return line.partition("psql '")[2].rstrip("'")


def test_it_serves_live_prices_and_prints_a_psql_command(serving: tuple[Service, httpx.Client]):
    service, client = serving
    before = client.get("/price?symbol=AAPL").json()["timestamp"]
    eventually(lambda: client.get("/price?symbol=AAPL").json()["timestamp"] > before)
    with psycopg.connect(_conninfo(service)) as connection:
        assert connection.info.host == "127.0.0.1"
        assert connection.execute("SELECT count(*) > 0 FROM candles_1m").fetchone() == (True,)


def test_a_second_service_on_the_same_folder_is_refused(serving: tuple[Service, httpx.Client], environment: dict[str, str]):
    service, client = serving
    line = error_line("serve", "--port", str(client.base_url.port), **environment)
    assert environment["MARKET_DATA_HOME"] in line
    assert str(service.process.pid) in line
    assert client.get("/health").status_code == 200


def test_a_service_waits_for_another_one_that_is_stopping(environment: dict[str, str], tmp_path: Path):
    with running(tmp_path, **environment) as (first, _):
        first.signal(signal.SIGTERM)
        with running(tmp_path, **environment) as (_, client):
            assert client.get("/health").status_code == 200
        assert first.wait() == 0


def test_other_commands_attach_to_the_running_engine_or_start_one(environment: dict[str, str], tmp_path: Path):
    with running(tmp_path, **environment):
        _migrate(environment)
    _migrate(environment)


def _migrate(environment: dict[str, str]) -> None:
    completed = command("migrate", **environment)
    assert completed.returncode == 0, completed.stderr
    assert "newest schema" in completed.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_stops_the_service_cleanly_and_then_the_engine(environment: dict[str, str], tmp_path: Path, workers: str):
    with running(tmp_path, "--workers", workers, **environment) as (service, client):
        eventually(lambda: client.get("/price?symbol=AAPL").status_code == 200)
        processes = service.descendants()
        service.signal(signal.SIGINT, group=True)
        assert service.wait(10) == 0
        eventually(lambda: not any(map(is_running, processes)), 5)
    # If the engine stopped first, the feed and the readers would log a lost database.
    assert "lost" not in service.text
    assert "database unavailable" not in service.text
    assert "Traceback" not in service.text


def test_no_process_remains_after_the_service_was_killed(environment: dict[str, str], tmp_path: Path):
    with running(tmp_path, "--workers", "2", **environment) as (service, _):
        processes = service.descendants()
        assert len(processes) >= 3, "two workers and the engine"
        service.signal(signal.SIGKILL)
        eventually(lambda: not any(map(is_running, processes)), 15)


def test_a_killed_engine_is_restarted_under_the_service(serving: tuple[Service, httpx.Client]):
    service, client = serving
    before = client.get("/price?symbol=AAPL").json()["timestamp"]
    with psycopg.connect(_conninfo(service)) as connection:
        port = connection.info.port
    (engine,) = [pid for pid in service.descendants() if _listens(pid, port)]
    os.kill(engine, signal.SIGKILL)
    eventually(lambda: _price(client) > before, 30)
    assert service.text.count("feed lost the database") == 1


def _price(client: httpx.Client) -> str:
    response = client.get("/price?symbol=AAPL")
    assert response.status_code in (200, 503)
    return response.json().get("timestamp", "")


def _listens(pid: int, port: int) -> bool:
    """True if the process has a socket that listens on this loopback port."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[3] == "0A" and row[1] == f"0100007F:{port:04X}"}
    links = (str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())
    return any(link.removeprefix("socket:[").rstrip("]") in inodes for link in links)


def test_a_port_in_use_is_a_one_line_error(environment: dict[str, str]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} (Address already in use)" in error_line("serve", "--port", str(port), **environment)
