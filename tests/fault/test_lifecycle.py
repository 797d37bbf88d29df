"""Start and stop of the service on a database server."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from helpers.api_keys import store_key
from helpers.raw_http import connect, read_all, request, statuses
from helpers.service import Service, error_line, eventually, is_running, running
from helpers.support import Connection, store, trade

QUIET = {"FEED_ENABLED": "false"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_ends_the_service_with_status_0(database_url: str, tmp_path: Path, workers: str):
    with running(tmp_path, "--workers", workers, DATABASE_URL=database_url) as (service, client):
        assert client.get("/health").status_code == 200
        service.signal(signal.SIGTERM)
        assert service.wait(10) == 0
    assert "Traceback" not in service.text


def test_the_start_logs_no_request(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url) as (service, client):
        eventually(lambda: "feeding" in service.text)
        assert '"event":"request"' not in service.text
        assert client.get("/symbols").status_code == 200
        eventually(lambda: service.text.count('"event":"request"') == 1)


def test_a_running_request_is_finished_before_the_service_stops(database_url: str, connection: Connection, tmp_path: Path):
    store(connection, trade(0, "1"))
    with running(tmp_path, DATABASE_URL=database_url, **QUIET) as (service, client):
        answers: list[httpx.Response] = []
        with psycopg.connect(database_url) as blocking:
            blocking.execute("LOCK TABLE latest_trades IN ACCESS EXCLUSIVE MODE")
            request = threading.Thread(target=lambda: answers.append(client.get("/price?symbol=AAPL")))
            request.start()
            request.join(0.5)
            assert not answers
            service.signal(signal.SIGTERM)
            request.join(0.5)
            assert not answers
        assert service.wait(10) == 0
        request.join()
    assert [answer.status_code for answer in answers] == [200]


def test_a_body_that_is_on_its_way_at_the_shutdown_may_arrive_or_is_answered_503(
    database_url: str, connection: Connection, tmp_path: Path
):
    store(connection, trade(0, "1"))
    headers = ("Content-Type: application/json", f"Authorization: Bearer {store_key(database_url, 'write')}")
    body = b'{"symbol":"AAPL","price":1,"volume":1,"timestamp":"2026-02-08T10:30:00Z"}'
    sent = request("/trades", body, *headers)
    with (
        running(tmp_path, DATABASE_URL=database_url, **QUIET) as (service, client),
        connect(str(client.base_url)) as quick,
        connect(str(client.base_url)) as slow,
    ):
        for upload in (quick, slow):
            upload.sendall(sent[:-20])
        time.sleep(0.5)
        service.signal(signal.SIGTERM)
        time.sleep(0.5)
        quick.sendall(sent[-20:])
        assert statuses(read_all(quick)) == [200]
        answer = read_all(slow)
        assert service.wait(10) == 0
    assert statuses(answer) == [503]
    assert b"repeat the same request" in answer
    assert "error" not in service.text
    assert "Traceback" not in service.text


def test_a_request_that_outlasts_the_shutdown_is_answered_503(database_url: str, connection: Connection, tmp_path: Path):
    store(connection, trade(0, "1"))
    with (
        running(tmp_path, DATABASE_URL=database_url, **QUIET) as (service, client),
        psycopg.connect(database_url) as blocking,
        ThreadPoolExecutor() as threads,
    ):
        blocking.execute("LOCK TABLE latest_trades IN ACCESS EXCLUSIVE MODE")
        requests = [threads.submit(client.get, path) for path in ("/price?symbol=AAPL", "/price?symbol=AAPL", "/health")]
        time.sleep(0.5)
        service.signal(signal.SIGTERM)
        assert service.wait(10) == 0
        assert [request.result().status_code for request in requests] == [503, 503, 503]
    assert "Traceback" not in service.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["ctrl-c", "closed terminal"])
def test_signal_to_the_process_group_stops_the_service_cleanly(database_url: str, tmp_path: Path, number: signal.Signals):
    with running(tmp_path, "--workers", "2", DATABASE_URL=database_url) as (service, _):
        processes = service.descendants()
        assert processes
        service.signal(number, group=True)
        assert service.wait(10) == 0
        eventually(lambda: not any(map(is_running, processes)))
    assert "Traceback" not in service.text


def test_ctrl_c_while_workers_import_prints_no_traceback(database_url: str, tmp_path: Path):
    service = Service(tmp_path, "--workers", "2", DATABASE_URL=database_url)
    try:
        workers = eventually(service.workers)
        service.signal(signal.SIGINT, group=True)
        assert service.wait(20) == 0
        eventually(lambda: not any(map(is_running, workers)))
    finally:
        service.end()
    assert "Traceback" not in service.text


def test_workers_end_when_their_supervisor_is_killed(database_url: str, tmp_path: Path):
    with running(tmp_path, "--workers", "2", DATABASE_URL=database_url) as (service, _):
        processes = service.descendants()
        service.signal(signal.SIGKILL)
        eventually(lambda: not any(map(is_running, processes)), 15)


def test_a_killed_worker_is_replaced(database_url: str, tmp_path: Path):
    with running(tmp_path, "--workers", "2", DATABASE_URL=database_url) as (service, client):
        killed = service.workers()
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: len(set(service.workers()) - set(killed)) == 2, 60)
        eventually(lambda: _answers(client), 60)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def test_a_port_in_use_is_reported_in_one_line(database_url: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = error_line("serve", "--port", str(port), DATABASE_URL=database_url)
    assert f"port {port} (Address already in use)" in line
    assert "--port" in line


def test_an_invalid_setting_is_reported_in_one_line_with_its_name(database_url: str):
    assert "POOL_SIZE='many'" in error_line("serve", DATABASE_URL=database_url, POOL_SIZE="many")


def test_an_unreachable_server_is_reported_without_its_password():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        dsn = f"postgresql://someone:s3cret@127.0.0.1:{port}/there"
        line = error_line("migrate", DATABASE_URL=dsn, DATABASE_START_TIMEOUT_SECONDS="0")
    assert "The database can't be reached" in line
    assert str(port) in line
    assert "s3cret" not in line


def test_the_ready_lines_contain_the_docs_and_a_working_psql_command_without_password(database_url: str, tmp_path: Path):
    with_password = database_url.replace("@", ":s3cret@", 1)
    with running(tmp_path, DATABASE_URL=with_password, LOG_LEVEL="debug") as (service, client):
        ready = next(line for line in service.text.splitlines() if "ready on" in line)
        assert ready.endswith(f"docs on {client.base_url}/docs".replace("//docs", "/docs"))
        command = eventually(lambda: next((line for line in service.text.splitlines() if "psql '" in line), None))
        conninfo = command.partition("psql '")[2].rstrip("'")
        with psycopg.connect(conninfo) as connection:
            assert connection.execute("SELECT count(*) >= 0 FROM trades").fetchone() == (True,)
    assert "s3cret" not in service.text


def test_ten_services_start_concurrently_on_an_empty_database(new_database, tmp_path: Path):
    with new_database() as empty:
        services = [Service(tmp_path, DATABASE_URL=empty, POOL_SIZE="1") for _ in range(10)]
        try:
            for service in services:
                service.wait_until_ready()
            eventually(lambda: sum("feeding 5 symbols" in service.text for service in services) == 1)
        finally:
            for service in services:
                service.signal(signal.SIGTERM)
            assert [service.wait(30) for service in services] == [0] * 10


def test_the_second_of_two_services_on_one_port_reports_that_it_is_in_use(database_url: str, tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    services = [Service(tmp_path, "--port", port, DATABASE_URL=database_url) for _ in range(2)]
    try:
        loser = eventually(lambda: next((each for each in services if each.process.poll() is not None), None))
        assert loser.process.returncode == 1
        assert f"port {port} (Address already in use)" in loser.text
        (winner,) = [each for each in services if each is not loser]
        assert winner.wait_until_ready().endswith(port)
    finally:
        for service in services:
            service.end()
