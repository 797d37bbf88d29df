"""nginx on loopback, with the configuration of `src/market_data/server/README.md`."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from helpers.service import eventually
from helpers.support import PROJECT

PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")

SERVERS = "    server 10.0.0.11:8000;\n    server 10.0.0.12:8000;\n"

HASHED = {"upstream market_data {": "upstream market_data {\n    hash $remote_addr$request_uri consistent;"}
"""Changes to the configuration that send all requests of a client for one URL to the same service."""

PREFIX = {"location / {": "location /md/ {", "X-Forwarded-Prefix ''": "X-Forwarded-Prefix /md"}
"""Changes to the configuration that show the services under `/md/`; the proxy passes the prefix on."""

PREFIX_REMOVED = {**PREFIX, "proxy_pass http://market_data;": "proxy_pass http://market_data/;"}
"""The same; the proxy removes the prefix."""

CONFIGURATION = """
daemon off;
{user}
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{recipe}
}}
"""


class Nginx:
    """A running nginx in front of some services."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self._folder = folder
        self._recipe = recipe
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            self._port: int = bound.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def process_id(self) -> int:
        assert self._process
        return self._process.pid

    def route_to(self, services: Sequence[str]) -> None:
        """Send requests to the services at some URLs from now on; requests that are under way end where they began."""
        upstreams = "".join(f"    server {service.removeprefix('http://')};\n" for service in services)
        recipe = _replaced(self._recipe, {SERVERS: upstreams, "listen 80;": f"listen 127.0.0.1:{self._port};"})
        user = "user root;" if os.geteuid() == 0 else ""
        (self._folder / "nginx.conf").write_text(CONFIGURATION.format(user=user, recipe=recipe))
        if self._process:
            before = self._workers()
            self._process.send_signal(signal.SIGHUP)
            # The old ones accept connections until they shut down.
            eventually(lambda: (now := self._workers()) and not now & before, 10)
            return
        assert PROGRAM
        command = [PROGRAM, "-p", str(self._folder), "-c", "nginx.conf", "-e", "error.log"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        eventually(self._listens, 10)

    def _workers(self) -> set[str]:
        assert self._process
        command = ["pgrep", "-P", str(self._process.pid), "-f", "nginx: worker process$"]
        return {*subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()}

    def _listens(self) -> bool:
        assert self._process
        assert self._process.poll() is None, (self._folder / "error.log").read_text()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self._port)) == 0

    def end(self) -> None:
        """Stop it."""
        if self._process:
            self._process.terminate()
            self._process.wait(10)


def _replaced(text: str, changes: Mapping[str, str]) -> str:
    for theirs, ours in changes.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    return text


@contextmanager
def nginx_for(services: Sequence[str], changes: Mapping[str, str] | None = None, *, cached: bool = False) -> Iterator[Nginx]:
    """Run nginx in front of the services at some URLs. `changes` replace text of the configuration.

    With `cached`, it keeps candles and trades as the second configuration of the README says.
    """
    recipe, cache = re.findall(r"```nginx\n(.*?)```", (PROJECT / "src/market_data/server/README.md").read_text(), re.DOTALL)
    if cached:
        path, _, location = cache.replace("/var/cache/nginx/", "").partition("\n")
        recipe = f"{path}\n{recipe.replace('    location / {', location + '    location / {')}"
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        nginx = Nginx(Path(folder), _replaced(recipe, changes or {}))
        try:
            nginx.route_to(services)
            yield nginx
        finally:
            nginx.end()


@contextmanager
def running_nginx(*services: str, changes: Mapping[str, str] | None = None, cached: bool = False) -> Iterator[str]:
    """Run nginx as `nginx_for`, and yield its URL."""
    with nginx_for(services, changes, cached=cached) as nginx:
        yield nginx.url
