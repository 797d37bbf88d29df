"""The engine's process: ownership, attachment, and recovery after a crash of the engine or of its owner."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from embedded.raw_client import RawClient, fields, query
from helpers.service import eventually, is_running
from psycopg.conninfo import conninfo_to_dict

from market_data.embedded import EngineBusy, EngineError, attached_engine, owned_engine

OWNER = """
import signal, sys
from pathlib import Path
from market_data.embedded import owned_engine
with owned_engine(Path(sys.argv[1]), report=lambda line: print(line, file=sys.stderr, flush=True)) as dsn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(dsn, flush=True)
    sys.stdin.read()
"""


@contextmanager
def owner(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that owns the engine on `home` until its standard input ends, and the DSN."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().strip()
        finally:
            if process.poll() is None:
                process.kill()


def engine_pid(home: Path) -> int:
    return json.loads((home / "engine.json").read_text())["pid"]


def answers(dsn: str) -> bool:
    try:
        with psycopg.connect(dsn, connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def log(home: Path) -> str:
    return (home / "engine.log").read_text()


@pytest.fixture(scope="module")
def running(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A home that this process owns, and the DSN of its engine."""
    home = shutil.copytree(seed, tmp_path_factory.mktemp("running") / "home")
    with owned_engine(home, report=pytest.fail) as dsn:
        yield home, dsn


def test_the_engine_listens_on_loopback_only(running):
    port = f":{int(str(conninfo_to_dict(running[1])['port'])):04X}"
    sockets = [
        line.split()[1]
        for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
        if table.exists()
        for line in table.read_text().splitlines()[1:]
        if line.split()[1].endswith(port) and line.split()[3] == "0A"
    ]
    assert sockets == [f"0100007F{port}"]


def test_the_given_port_is_used_if_it_is_free_and_another_one_otherwise(home, tmp_path, seed):
    with owned_engine(home, report=print) as dsn:
        port = int(str(conninfo_to_dict(dsn)["port"]))
    with owned_engine(home, report=print, port=port) as dsn:
        assert f":{port}/" in dsn
        second = shutil.copytree(seed, tmp_path / "second")
        with owned_engine(second, report=print, port=port) as other:
            assert f":{port}/" not in other
            assert answers(other)
        assert answers(dsn)


def test_a_second_owner_is_refused_with_the_pid_of_the_first(running):
    home, dsn = running
    started = time.monotonic()
    with pytest.raises(EngineBusy) as refused, owned_engine(home, report=print, wait=0.5):
        pytest.fail("two owners")
    assert 0.5 <= time.monotonic() - started < 3
    error = str(refused.value)
    assert f"pid {os.getpid()}" in error
    assert str(home) in error
    assert "MARKET_DATA_HOME" in error
    assert "\n" not in error
    assert answers(dsn)


def test_an_owner_waits_for_another_one_that_is_stopping(home):
    with owner(home) as (process, dsn):
        assert answers(dsn)
        assert process.stdin
        threading.Timer(1.0, process.stdin.close).start()
        with owned_engine(home, report=print, wait=10) as mine:
            assert answers(mine)


def test_attaching_uses_the_running_engine(running):
    home, dsn = running
    with attached_engine(home, report=pytest.fail) as attached:
        assert attached == dsn
    assert answers(dsn)


def test_attaching_without_a_running_engine_starts_one_for_the_block(home):
    with attached_engine(home, report=print) as dsn:
        pid = engine_pid(home)
        assert answers(dsn)
    assert not is_running(pid)
    assert not (home / "engine.json").exists()


def test_concurrent_attachments_share_one_engine(home):
    dsns: list[str] = []
    all_attached = threading.Barrier(3)

    def attach() -> None:
        with attached_engine(home, report=print) as dsn:
            dsns.append(dsn)
            all_attached.wait(60)

    threads = [threading.Thread(target=attach) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(dsns) == 3
    assert len(set(dsns)) == 1


def test_an_exception_in_the_block_propagates_and_the_engine_stops(home):
    pids: list[int] = []
    with pytest.raises(EngineBusy, match="mine"), owned_engine(home, report=print):  # noqa: PT012 - the exception leaves the whole block
        pids.append(engine_pid(home))
        raise EngineBusy("mine")
    assert not is_running(pids[0])


def test_the_engine_stops_after_its_owner_was_killed(home):
    with owner(home) as (process, dsn):
        pid = engine_pid(home)
        assert answers(dsn)
        process.kill()
        process.wait()
        eventually(lambda: not is_running(pid), 10)
    with owned_engine(home, report=print, wait=5) as dsn:
        assert answers(dsn)
    assert "not properly shut down" not in log(home)


def test_a_signal_to_the_process_group_does_not_reach_the_engine(home):
    with owner(home) as (process, dsn):
        pid = engine_pid(home)
        os.killpg(process.pid, signal.SIGINT)
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGHUP)
        time.sleep(0.3)
        assert answers(dsn)
        assert is_running(pid)


def test_the_engine_shuts_down_cleanly_on_sigterm(home):
    messages: list[str] = []
    with owned_engine(home, report=messages.append) as dsn:
        pid = engine_pid(home)
        with RawClient(dsn) as client:
            client.send(query("BEGIN; CREATE TABLE uncommitted (a integer)"))
            client.until(b"Z")
            os.kill(pid, signal.SIGTERM)
            [(_, error)] = client.until_closed()
            assert fields(error)["C"] == "57P01"
        eventually(lambda: answers(dsn))
        assert messages[0].startswith("the embedded engine died (status 0, see ")
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT to_regclass('uncommitted')").fetchone() == (None,)
    assert "not properly shut down" not in log(home)


def test_a_clean_stop_writes_a_checkpoint_and_keeps_committed_rows(home):
    with owned_engine(home, report=print) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (a integer)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    before = len(log(home))
    with owned_engine(home, report=print) as dsn, psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)
        assert connection.execute("SELECT current_database()").fetchone() == ("market_data",)
    assert "database system was shut down" in log(home)[before:]
    assert "not properly shut down" not in log(home)[before:]


def test_a_killed_engine_is_restarted_and_no_acknowledged_row_is_lost(home):
    messages: list[str] = []
    with owned_engine(home, report=messages.append) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE numbers (a integer PRIMARY KEY)")
        acknowledged = 0
        for _ in range(2):
            killer = threading.Timer(0.2, os.kill, (engine_pid(home), signal.SIGKILL))
            kill_at = acknowledged + 20
            with pytest.raises(psycopg.OperationalError), psycopg.connect(dsn, autocommit=True) as connection:  # noqa: PT012 - the exception leaves the whole block
                while True:
                    connection.execute("INSERT INTO numbers VALUES (%s)", (acknowledged + 1,))
                    acknowledged += 1
                    if acknowledged == kill_at:
                        killer.start()
            eventually(lambda: answers(dsn))
            with psycopg.connect(dsn) as connection:
                row = connection.execute("SELECT count(*), max(a) FROM numbers").fetchone()
            assert row
            # The last row may have been committed without an acknowledgement.
            assert acknowledged <= row[0] == row[1] <= acknowledged + 1
            acknowledged = row[0]
    assert messages.count("the embedded engine has restarted") == 2


def test_a_statement_that_crashes_the_engine_causes_one_restart(home):
    messages: list[str] = []
    with owned_engine(home, report=messages.append) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
        connection.execute("""
            CREATE FUNCTION endless(i integer) RETURNS integer LANGUAGE plpgsql
            AS $$ BEGIN RETURN endless(i + 1); END $$
        """)
        with pytest.raises(psycopg.OperationalError, match="the embedded engine failed and is restarting"):
            connection.execute("SELECT endless(1)")
        eventually(lambda: answers(dsn))
        with psycopg.connect(dsn) as again:
            assert again.execute("SELECT a FROM kept").fetchone() == (1,)
    assert "the engine failed: RangeError" in (home / "engine.log").read_text()
    assert messages == [
        f"the embedded engine died (signal 9, see {home / 'engine.log'}); restarting it",
        "the embedded engine has restarted",
    ]


def test_an_interrupted_creation_of_the_database_is_repeated(tmp_path):
    home = tmp_path / "home"
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        eventually((home / "data.new" / "base" / "1").exists)
        process.kill()
    with owned_engine(home, report=print, wait=30) as dsn:
        assert answers(dsn)
    assert not (home / "data.new").exists()


@pytest.mark.parametrize("content", ["{", '{"dsn": 1}', '{"pid": 1, "port": 1}'])
def test_a_stale_connection_file_is_ignored(home, content):
    (home / "engine.json").write_text(content)
    (home / "engine.lock").write_text(content)
    with attached_engine(home, report=print) as dsn:
        assert answers(dsn)


def test_an_error_names_a_home_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EngineError, match=r"can't use .*/file/home") as refused,
        owned_engine(tmp_path / "file" / "home", report=print),
    ):
        pytest.fail("started")
    assert "\n" not in str(refused.value)


def test_the_error_of_a_damaged_database_names_the_log(home):
    (home / "data" / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(EngineError, match=r"engine\.log") as refused, owned_engine(home, report=print):
        pytest.fail("started")
    assert "\n" not in str(refused.value)
    # The failed engine holds no lock.
    with pytest.raises(EngineError, match="can't start"), owned_engine(home, report=print, wait=0):
        pytest.fail("started")
