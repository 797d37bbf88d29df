"""`market-data watch` on a running service: in a terminal, in a pipe, and through the service's restart."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from helpers.service import Service, command, error_line, eventually, running
from helpers.sse_client import listening
from helpers.support import T0, Connection, store, trade
from helpers.terminal import terminal

from market_data.cli.data.statements import NOT_STREAMED

MINUTE = timedelta(minutes=1)

FAST = {"INGESTION_INTERVAL_SECONDS": "0.2"}


@contextmanager
def piped(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "market_data.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_in_a_terminal_prices_are_shown_through_a_restart_of_the_service(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, **FAST) as (service, client):
        url = str(client.base_url).rstrip("/")
        with terminal("watch", "--url", url) as shown:
            screen = eventually(lambda: shown.screen if len(shown.screen) >= 8 else None)
            assert screen[0].startswith(f"live  {url}  watching since ")
            assert screen[1].split()[:3] == ["symbol", "price", "since"]
            eventually(lambda: {line.split()[0] for line in shown.screen[3:8]} == {"AAPL", "AMZN", "GOOGL", "MSFT", "TSLA"})
            eventually(lambda: len(shown.screen) == 12)

            service.end()
            eventually(lambda: shown.screen[0].startswith("reconnecting since "))
            assert len(shown.screen) >= 8, "the prices stay"
            again = Service(tmp_path, "--port", url.rpartition(":")[2], DATABASE_URL=database_url, **FAST)
            try:
                eventually(lambda: shown.screen[0].startswith("live"), 60)
                eventually(lambda: all(line.endswith(" s ago") for line in shown.screen[3:8]))

                os.killpg(shown.process.pid, signal.SIGINT)
                assert shown.process.wait(10) == 0
            finally:
                again.end()
            assert "\x1b[?1049l" in shown.written, "the screen is restored"
            assert "Traceback" not in shown.written


def test_in_a_pipe_a_line_per_trade_is_printed_until_the_reader_closes_it(database_url: str, tmp_path: Path):
    with (
        running(tmp_path, DATABASE_URL=database_url, **FAST) as (_, client),
        piped("watch", "aapl", "--url", str(client.base_url)) as process,
    ):
        assert process.stdout
        assert process.stderr
        lines = [process.stdout.readline().rstrip("\n").split("\t") for _ in range(3)]
        for symbol, price, volume, time in lines:
            assert symbol == "AAPL"
            assert float(price) > 0
            assert float(volume) >= 0
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", time)
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_changed_and_imported_trades_are_shown_in_a_terminal(database_url: str, known: Connection, tmp_path: Path):
    store(known, trade(0, "100"))
    with (
        running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (_, client),
        terminal("watch", "AAPL", "MSFT", "--url", str(client.base_url)) as shown,
    ):

        def expect(*cells: str) -> None:
            eventually(lambda: [line.split()[: len(cells)] for line in shown.screen[3:4]] == [list(cells)])

        expect("AAPL", "100", "+0", "+0.00", "0", "0")
        store(known, trade(1, "200.5"))
        expect("AAPL", "200.5", "+100.5", "+100.50", "1", "1")
        known.execute("UPDATE trades SET price = 150 WHERE price > 150")
        expect("AAPL", "150.0", "+50.0", "+50.00", "1", "1")
        known.execute("DELETE FROM trades WHERE price = 150")
        expect("AAPL", "100.0", "+0.0", "+0.00", "1", "1")
        with known.transaction():
            known.execute(NOT_STREAMED)
            known.execute("INSERT INTO trades (symbol, time, price, volume) VALUES ('AAPL', %s, 110, 1)", (T0 + 9 * MINUTE,))
        known.execute("DELETE FROM stale_ranges")  # as at the end of refresh_candles
        expect("AAPL", "110.0", "+10.0", "+10.00", "1", "1")
        known.execute("DELETE FROM trades")
        expect("AAPL", "-", "none", "yet")


def test_changed_and_imported_trades_are_printed_in_a_pipe(database_url: str, known: Connection, tmp_path: Path):
    with (
        running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (_, client),
        listening(str(client.base_url)) as events,
        piped("watch", "AAPL", "--url", str(client.base_url)) as process,
    ):
        assert process.stdout
        assert process.stderr
        eventually(lambda: client.get("/metrics").text.count('market_data_stream_clients{transport="sse"} 2.0'))
        store(known, trade(0, "100", "2"))
        known.execute("UPDATE trades SET price = 150")
        known.execute("DELETE FROM trades")
        lines = [process.stdout.readline().rstrip("\n").split("\t") for _ in range(3)]
        assert lines == [
            ["AAPL", "100", "2", "2026-02-08T10:30:00Z"],
            ["AAPL", "150", "2", "2026-02-08T10:30:00Z", "corrected"],
            ["AAPL", "150", "2", "2026-02-08T10:30:00Z", "cancelled"],
        ]
        with known.transaction():
            known.execute(NOT_STREAMED)
            known.execute("INSERT INTO trades (symbol, time, price, volume) VALUES ('AAPL', %s, 110, 1)", (T0,))
        known.execute("DELETE FROM stale_ranges")
        assert events.next("reload").data["symbol"] == "AAPL"
        period = "from 2026-02-08T10:30:00Z to 2026-02-08T10:30:00.000001Z"
        assert process.stderr.readline() == f"market-data: trades of AAPL {period} were loaded or deleted in bulk\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_ends_it_without_a_message(database_url: str, tmp_path: Path, number: signal.Signals):
    with (
        running(tmp_path, DATABASE_URL=database_url, **FAST) as (_, client),
        piped("watch", "--url", str(client.base_url)) as process,
    ):
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_an_unknown_symbol_is_reported_with_the_detail_of_the_service(database_url: str, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, **FAST) as (_, client):
        message = error_line("watch", "AAPL", "ACME", "--url", str(client.base_url))
    assert message == "market-data: There is no symbol ACME; GET /symbols lists the known ones.\n"


def test_an_unreachable_service_is_reported_with_the_remedy():
    message = error_line("watch", MARKET_DATA_URL="http://127.0.0.1:1")
    assert "No service responds at http://127.0.0.1:1 (Connection refused)" in message
    assert "market-data serve" in message


def test_symbols_with_spaces_and_negative_prices_are_watched(database_url: str, connection: Connection, tmp_path: Path):
    connection.execute("INSERT INTO symbols (symbol, name, signed) VALUES ('CL 05-20', 'x', true), ('X:A:Y', 'x', false)")
    store(connection, trade(0, "0", symbol="CL 05-20"), trade(0, "7", symbol="X:A:Y"))
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (_, client):
        url = str(client.base_url).rstrip("/")
        with piped("watch", "cl 05-20, x:a:y", "--url", url) as process, terminal("watch", "--url", url) as shown:
            eventually(lambda: {"CL 05-20", "X:A:Y"} <= {line.partition("  ")[0] for line in shown.screen})
            eventually(lambda: client.get("/metrics").text.count('market_data_stream_clients{transport="sse"} 2.0'))
            store(connection, trade(1, "-37.63", symbol="CL 05-20"))
            assert process.stdout
            assert process.stdout.readline() == "CL 05-20\t-37.63\t1\t2026-02-08T10:30:01Z\n"
            eventually(lambda: any(line.split()[:5] == ["CL", "05-20", "-37.63", "-37.63", "-"] for line in shown.screen))


def test_replay_prints_the_trades_of_the_past_and_ends(connection: Connection, tmp_path: Path, database_url: str):
    store(connection, trade(0, "100", "2"), trade(61, "101.50"), trade(62, "99", symbol="MSFT"))
    with running(tmp_path, DATABASE_URL=database_url, FEED_ENABLED="false") as (_, client):
        url = ("--url", str(client.base_url))
        replay = ("--replay", T0.isoformat(), "--to", (T0 + 2 * MINUTE).isoformat(), "--order", "time", "--speed", "max")
        played = command("watch", "AAPL", *url, *replay)
        assert (played.returncode, played.stderr) == (0, "")
        assert played.stdout == "AAPL\t100\t2\t2026-02-08T10:30:00Z\nAAPL\t101.5\t1\t2026-02-08T10:31:01Z\n"
        assert "give --replay FROM" in error_line("watch", *url, "--speed", "60")
        assert "is in the future" in error_line("watch", *url, "--replay", "2100-01-01")
