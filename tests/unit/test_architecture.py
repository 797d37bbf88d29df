"""How the modules hang together."""

import subprocess
import sys
from pathlib import Path

from support import PROJECT


def test_imports_point_one_way():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Imports point one way KEPT" in done.stdout
