"""`market-data psql` on the running embedded engine, or on one that it starts."""

import os
import signal
from pathlib import Path

from helpers.service import command, eventually
from helpers.terminal import terminal

from market_data.embedded import owned_engine
from market_data.embedded.home import Home

PROMPT = "market_data=# "
QUERY = ("-A", "-t", "-c", "SELECT current_database()")


def test_psql_uses_the_running_engine(home: Path):
    with owned_engine(home, report=print) as address:
        ended = command("psql", *QUERY, MARKET_DATA_HOME=str(home))
        assert Home(home).running_dsn() == address, "the engine must keep running"
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "market_data\n", "")


def test_psql_starts_an_engine_and_stops_it_afterwards(home: Path):
    for _ in range(2):
        ended = command("psql", *QUERY, MARKET_DATA_HOME=str(home))
        assert (ended.returncode, ended.stdout) == (0, "market_data\n")
        with Home(home).locked():
            pass
    assert command("psql", "-c", "SELECT nothing", MARKET_DATA_HOME=str(home)).returncode == 1


def test_ctrl_c_cancels_the_input_of_psql_only(home: Path):
    with terminal("psql", "--no-psqlrc", "-A", "-t", MARKET_DATA_HOME=str(home)) as shown:
        shown.type("SELECT 'rea' || 'dy';\n")
        eventually(lambda: "\rready\r" in shown.written and shown.written.endswith(PROMPT))
        before = len(shown.written)
        os.killpg(shown.process.pid, signal.SIGINT)
        eventually(lambda: PROMPT in shown.written[before:])
        shown.type("SELECT 'goes ' || 'on';\n")
        eventually(lambda: "\rgoes on\r" in shown.written)
        shown.type("\\q\n")
        assert shown.process.wait(20) == 0
        assert "Traceback" not in shown.written
    with Home(home).locked():
        pass


def test_a_signal_to_the_command_ends_psql_and_the_engine(home: Path):
    with terminal("psql", "--no-psqlrc", MARKET_DATA_HOME=str(home)) as shown:
        eventually(lambda: PROMPT in shown.written)
        shown.process.send_signal(signal.SIGTERM)
        assert shown.process.wait(20) == 0
    with Home(home).locked():
        pass
