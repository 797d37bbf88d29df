"""Log lines: JSON or text, in UTC, with the id of the request, without secrets."""

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from market_data.telemetry.logging import without_secrets

PROGRAM = """
import logging
from datetime import UTC, datetime
from market_data.telemetry.logging import REQUEST_ID, RequestLine, configure, write
configure("INFO")
logger = logging.getLogger("market_data.somewhere")
REQUEST_ID.set("7f0c")
logger.info("lost %s", "postgresql://someone:s3cret@host/db")
logger.debug("not asked for")
try:
    password = "s3cret"
    raise ValueError("password=s3cret is wrong")
except ValueError:
    logger.exception("it failed")
line = RequestLine(datetime.now(UTC), "info", "request", "GET", "/\\x1b[31m", 200, 1.25, "7f0c", "127.0.0.1")
write([line, line])
logging.getLogger("uvicorn.error").warning("message of a library")
"""


def test_each_line_is_a_json_object_outside_a_terminal():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    lost, failed, request, again, library = [json.loads(line) for line in ended.stderr.splitlines()]
    assert {name: lost[name] for name in ("level", "event", "logger", "request_id")} == {
        "level": "info",
        "event": "lost postgresql://someone:***@host/db",
        "logger": "market_data.somewhere",
        "request_id": "7f0c",
    }
    assert lost["timestamp"].endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(lost["timestamp"])) < timedelta(seconds=30)
    assert failed["exception"].startswith("Traceback")
    assert "s3cret" not in ended.stderr
    assert request == again
    assert (request["path"], request["duration_ms"]) == ("/\x1b[31m", 1.25)
    assert library["event"] == "message of a library"


def test_lines_are_text_on_a_terminal():
    ours, theirs = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "1"}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=theirs, env=environment) as process:
        os.close(theirs)
        received = b""
        try:
            while piece := os.read(ours, 4096):
                received += piece
        except OSError:  # Linux raises it when the other side is closed
            pass
    os.close(ours)
    text = received.decode().replace("\r\n", "\n")
    assert process.returncode == 0
    assert "lost postgresql://someone:***@host/db" in text
    assert "Traceback" in text
    assert "status=200" in text
    assert "request_id=7f0c" in text
    assert "s3cret" not in text
    assert "{" not in text
    assert "\x1b[31m" not in text, "control characters of clients are escaped"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:p%40ss@h:5432/d", "postgresql://u:***@h:5432/d"),
        (
            "(postgresql://u:p:x/y@h) postgresql://u:q@h:1 and x://y:z",
            "(postgresql://u:***@h) postgresql://u:***@h:1 and x://y:z",
        ),
        ("host=h password='a b' user=u", "host=h password=*** user=u"),
        ("PGPASSWORD=secret", "PGPASSWORD=***"),
        ("http://127.0.0.1:8000/docs and a@b", "http://127.0.0.1:8000/docs and a@b"),
    ],
)
def test_passwords_are_masked(text: str, shown: str):
    assert without_secrets(text) == shown
