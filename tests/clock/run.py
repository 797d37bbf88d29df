"""Run tests at other dates: `uv run python tests/clock/run.py [--at MOMENT]… [PYTEST ARGUMENT]…`.

libfaketime sets the clock of the tests, and of all processes that they start, such as the embedded engine. Each test starts
at the moment, by default shortly before midnight: on every day of a week, at the end of a month and of a year, and on
29 February. The exit status is 1 if tests failed at any moment.

A server in TEST_DATABASE_URL needs the same clock: start it with the variables of `ENVIRONMENT`, and a file that contains
`+0`, which `--clock` names.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
ENVIRONMENT = {
    "LD_PRELOAD": str(LIBRARY),
    "FAKETIME_NO_CACHE": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "NO_FAKE_STAT": "1",
}
"""With FAKETIME_TIMESTAMP_FILE, the name of the file with the offset in seconds."""
MOMENTS = (
    *(f"2026-12-{day} 23:59:59" for day in range(28, 32)),
    *(f"2027-01-{day:02} 23:59:59" for day in range(1, 4)),
    "2027-02-28 23:59:57",
    "2028-02-29 12:00:00",
    "2028-02-29 23:59:57",
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run tests at other dates.")
    parser.add_argument("--at", action="append", metavar="MOMENT", help=f"in UTC (default: {', '.join(MOMENTS)})")
    parser.add_argument("--clock", type=Path, metavar="FILE", help="file of the server's offset (default: a temporary file)")
    options, arguments = parser.parse_known_args()
    if LIBRARY is None:
        parser.error("libfaketime is missing: apt install faketime")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        clock = options.clock or Path(folder) / "clock"
        for moment in options.at or MOMENTS:
            print(f"--- {moment} UTC", flush=True)
            clock.write_text("+0")
            variables = {
                "TEST_CLOCK": f"{moment}+00:00",
                "PYTHONPATH": str(HERE),
                "FAKETIME_TIMESTAMP_FILE": str(clock),
            }
            command = [sys.executable, "-m", "pytest", "-p", "set_clock", *arguments]
            done = subprocess.run(command, env=os.environ | ENVIRONMENT | variables, check=False)
            failed |= done.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
