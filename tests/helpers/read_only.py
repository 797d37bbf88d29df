"""Programs without privileges on a read-only file system, as in a container."""

import subprocess
from functools import cache
from pathlib import Path

SCRIPT = """
mount --make-rprivate /
mount --bind "$TMPDIR" "$TMPDIR"
for mount in $(findmnt --raw --noheadings --output TARGET | grep -vE '^/(proc|sys|dev)(/|$)'); do
    [ "$mount" = "$TMPDIR" ] || mount -o remount,bind,ro "$mount"
done
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
"""Root, without its capabilities, writes nothing on a read-only mount, either."""


def read_only(temporary: Path) -> tuple[str, ...]:
    """Return the beginning of a command that may write only into a folder for temporary files."""
    return ("env", f"TMPDIR={temporary}", "unshare", "--mount", "sh", "-ec", SCRIPT, "sh")


@cache
def can_be_read_only() -> bool:
    """True if this process may mount: only root may, and not in every container."""
    tried = subprocess.run([*read_only(Path("/tmp")), "true"], capture_output=True, check=False)
    return tried.returncode == 0
