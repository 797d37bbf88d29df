"""nginx on loopback, with the configuration of `src/market_data/cli/README.md`."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from helpers.service import eventually
from helpers.support import PROJECT

PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")

SERVERS = "    server 10.0.0.11:8000;\n    server 10.0.0.12:8000;\n"

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


@contextmanager
def running_nginx(*services: str, changes: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run nginx in front of the services at some URLs, and yield its URL. `changes` replace text of the configuration."""
    assert PROGRAM
    (recipe,) = re.findall(r"```nginx\n(.*?)```", (PROJECT / "src/market_data/cli/README.md").read_text(), re.DOTALL)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    upstreams = "".join(f"    server {service.removeprefix('http://')};\n" for service in services)
    for theirs, ours in {SERVERS: upstreams, "listen 80;": f"listen 127.0.0.1:{port};", **(changes or {})}.items():
        assert theirs in recipe
        recipe = recipe.replace(theirs, ours)
    user = "user root;" if os.geteuid() == 0 else ""
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        Path(folder, "nginx.conf").write_text(CONFIGURATION.format(user=user, recipe=recipe))
        process = subprocess.Popen([PROGRAM, "-p", folder, "-c", "nginx.conf", "-e", "error.log"], stdin=subprocess.DEVNULL)
        try:
            eventually(lambda: _listens(port, process, Path(folder, "error.log")), 10)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def _listens(port: int, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
