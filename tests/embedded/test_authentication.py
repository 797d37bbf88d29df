"""Only a client that knows the password of the engine can use it, whatever its user name."""

import base64
import json
import stat
import struct
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from embedded.raw_client import RawClient, bind, execute, fields, message, parse, query, startup
from helpers.service import command
from psycopg.conninfo import conninfo_to_dict

from market_data.embedded import owned_engine
from market_data.embedded.home import Home


def without_password(dsn: str) -> str:
    return urlsplit(dsn)._replace(query="passfile=/dev/null").geturl()


@pytest.mark.parametrize("user", ["postgres", "analyst", "nobody"])
def test_a_client_without_the_password_is_refused(engine: str, user: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    for password in ("", "guess"):
        with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed for user"):
            psycopg.connect(without_password(engine), user=user, password=password)
    with RawClient(engine, start=False) as client:
        client.send(startup(user=user))
        kind, body = client.authenticate("guess")[-1]
        assert (kind, fields(body)["C"]) == (b"E", "28P01")
        assert client.until_closed() == []


def first_message(text: str, mechanism: bytes = b"SCRAM-SHA-256") -> bytes:
    return message(b"p", mechanism + b"\0" + struct.pack("!i", len(text)) + text.encode())


@pytest.mark.parametrize(
    "attempt",
    [
        query("SELECT 1"),
        parse("", "SELECT 1") + bind("", "") + execute(""),
        message(b"p", b"secret\0"),
        message(b"p", b""),
        first_message("n,,n=,r=a", b"SCRAM-SHA-256-PLUS"),
        first_message("n,,n=,r="),
        first_message("p=tls-exporter,,n=,r=a"),
        first_message("n,,n=,r=a") + query("SELECT 1"),
        first_message("n,,n=,r=a") + message(b"p", b"c=biws,r=a,p=" + base64.b64encode(bytes(32))),
        first_message("n,,n=,r=a") + first_message("n,,n=,r=a"),
    ],
)
def test_messages_before_the_end_of_the_authentication_end_the_connection(engine: str, attempt: bytes):
    with RawClient(engine, start=False) as client:
        client.send(startup() + attempt)
        received = client.until_closed()
        assert [kind for kind, _ in received] in ([b"R", b"E"], [b"R", b"R", b"E"])
        assert fields(received[-1][1])["C"] == "08P01"


def test_a_proof_for_another_connection_is_refused(engine: str):
    with RawClient(engine, start=False) as client, RawClient(engine, start=False) as replay:
        client.send(startup())
        client.authenticate()
        replay.send(client.sent)
        kind, body = replay.until_closed()[-1]
        assert (kind, fields(body)["C"]) == (b"E", "08P01")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_may_read_the_files_that_lead_to_the_password(home: Path):
    home.chmod(0o755)
    Home(home).passfile.unlink()
    with owned_engine(home, report=print) as first:
        assert mode(home / "pgpass") == mode(home / "engine.json") == 0o600
        password = (home / "pgpass").read_text()
        psycopg.connect(first).close()
    (home / "pgpass").chmod(0o644)
    with owned_engine(home, report=print) as again:
        assert mode(home / "pgpass") == 0o600
        assert (home / "pgpass").read_text() == password, "clients keep their configuration"
        psycopg.connect(again).close()


def test_the_password_is_in_no_argument_and_no_log(home: Path):
    with owned_engine(home, report=print) as dsn:
        password = (home / "pgpass").read_text().strip().rpartition(":")[2]
        assert len(password) >= 40
        pid = json.loads((home / "engine.json").read_text())["pid"]
        assert password not in dsn
        assert password not in Path(f"/proc/{pid}/cmdline").read_text()
        assert password not in Path(f"/proc/{pid}/environ").read_text()
        assert conninfo_to_dict(dsn)["passfile"] == str(home / "pgpass")
    assert password not in (home / "engine.log").read_text()


def test_passwords_in_the_environment_are_not_used(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGPASSWORD", "that of another server")
    with owned_engine(home, report=print) as dsn:
        psycopg.connect(dsn).close()
        ended = command("psql", "-A", "-t", "-c", "SELECT 'connected'", MARKET_DATA_HOME=str(home))
        assert ended.stdout == "connected\n", ended.stderr
        assert command("migrate", MARKET_DATA_HOME=str(home)).returncode == 0


def test_an_empty_password_file_ends_the_start_with_the_remedy(home: Path):
    (home / "pgpass").write_text("")
    with pytest.raises(Exception, match="delete it, and a new one is made"), owned_engine(home, report=print):
        pass
