"""python-binance reconnects by itself after a restart of the service."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from helpers.foreign_clients import run_client
from helpers.service import Service
from helpers.support import Connection, store, trade

HERE = Path(__file__).parent
LAST = "999"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_python_binance_follows_a_restarted_service(tmp_path: Path, database_url: str, known: Connection):
    environment = {"DATABASE_URL": database_url, "FEED_ENABLED": "false"}
    service = Service(tmp_path, **environment)
    numbers = count()

    def write(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not running.done():
            number = next(numbers)
            store(known, trade(number, f"{1 + number}"))
            time.sleep(0.2)

    script = HERE / "python_binance_reconnection.py"
    try:
        base = service.wait_until_ready()
        with ThreadPoolExecutor(1) as executor:
            running = executor.submit(run_client, script, base, LAST, packages=("python-binance==1.0.37",))
            write(8)
            service.signal(signal.SIGTERM)
            service.wait()
            write(2)
            service = Service(tmp_path, "--port", base.rpartition(":")[2], **environment)
            service.wait_until_ready()
            write(8)
            while not running.done():  # the client may connect at any time
                store(known, trade(next(numbers), LAST))
                time.sleep(0.5)
            answer = running.result()
    finally:
        service.end()
    assert "Traceback" not in service.text
    streamed = {each["t"]: each["p"] for each in answer["streamed"]}
    stored = {each["id"]: each["price"] for each in answer["stored"]}
    assert streamed.items() <= stored.items()
    assert len(streamed) == len(answer["streamed"]) > 20
    missed = sorted(stored.keys() - streamed.keys())
    assert missed  # the protocol can't resume; the client reads them by id
    ids = sorted(stored)
    first, last = (
        ids.index(missed[0]),
        max(index for index, each in enumerate(ids) if each in set(missed) and each < max(streamed)),
    )
    assert first > 0
    assert [each for each in ids[first : last + 1] if each in streamed] == []  # one gap
