"""Clients of other services, unmodified and at pinned versions, each in an environment of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 500.0


def run_client(script: Path, *arguments: str, packages: tuple[str, ...], seconds: float = TIMEOUT_SECONDS) -> Any:
    """Run a script that uses some packages, such as `alpaca-py==0.44.0`, and return the JSON that it prints."""
    given = [part for package in packages for part in ("--with", package)]
    command = [os.environ.get("UV", "uv"), "run", "--isolated", "--no-project", "--python", sys.executable, *given]
    ended = subprocess.run(
        [*command, "python", str(script), *arguments], capture_output=True, text=True, check=False, timeout=seconds
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)
