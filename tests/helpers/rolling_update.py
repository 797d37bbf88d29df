"""Two services behind nginx, and the next version of the service, which replaces them one after another under load.

The next version is this one with a further revision of the schema, such as a release would have.
"""

import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from helpers.environments import Environment, lasting_port
from helpers.nginx import Nginx, nginx_for
from helpers.service import Service
from helpers.support import LONG_TIMEOUTS, PROJECT, Databases

from market_data.database import migrations

READS = ("/prices/latest", "/candles?symbol=ONE&interval=1m&limit=60", "/trades?symbol=TWO&limit=100")

REVISION = '''"""A column of the trades, a table, and a function with another text.

Revision: {revision}
"""

from alembic import op

revision = "{revision}"
down_revision = "{previous}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE trades ADD COLUMN venue text")
    op.execute("ALTER TABLE symbols ADD COLUMN sector text NOT NULL DEFAULT 'none'")
    op.execute("CREATE TABLE venues (code text PRIMARY KEY)")
    op.execute(
        "CREATE OR REPLACE FUNCTION newest_version() RETURNS bigint LANGUAGE sql STABLE "
        "AS $$ SELECT coalesce(max(version), 0) FROM public.data_version $$"
    )
'''


def next_version(folder: Path) -> tuple[str, str]:
    """Make a copy of the service with a further revision; return its PYTHONPATH and the revision."""
    previous = migrations.revisions()[-1]
    revision = f"{int(previous) + 1:04}"
    for name in ("src/market_data", "alembic"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    text = REVISION.format(revision=revision, previous=previous)
    (folder / f"alembic/versions/{revision}_next.py").write_text(text)
    return str(folder / "src"), revision


class RollingEnvironment(Environment):
    """Services behind nginx, all on one database."""

    def __init__(self, folder: Path, url: str, nginx: Nginx) -> None:
        # The database is not at fault.
        super().__init__(folder, lambda: url, DATABASE_URL=url, TRUSTED_PROXIES="127.0.0.1", **LONG_TIMEOUTS)
        self.address = nginx.url
        self._nginx = nginx
        self._serving: dict[str, Service] = {}
        """Services that nginx sends requests to, by their URLs."""

    def start(self) -> None:
        """Start two services of this version."""
        for _ in range(2):
            self._add()

    def end(self) -> None:
        """End all services."""
        for service in self.services:
            service.end()

    def update(self) -> None:
        """Replace both services by the next version while clients read, of whom each repeats a failed request once.

        Before the second service is replaced, one of this version starts on the schema of the next one.
        """
        with running_readers(self.address) as failures:
            self._replace_services()
        assert not failures, Counter(failures).most_common(9)

    def _replace_services(self) -> None:
        path, revision = next_version(self.folder / "next")
        first, second = self._serving
        self._add(PYTHONPATH=path)  # migrates the database
        self.injected[f"migrations to {revision}"] += 1
        self._remove(first)
        self._add()
        assert f"the schema is revision {revision}" in self.service.text
        self._remove(second)
        third = [*self._serving][-1]
        self._add(PYTHONPATH=path)
        self._remove(third)

    def _add(self, **settings: str) -> None:
        service = Service(self.folder, "--port", str(lasting_port()), **self._settings | settings)
        self.services.append(service)
        self._serving[service.wait_until_ready()] = service
        self._nginx.route_to([*self._serving])

    def _remove(self, url: str) -> None:
        service = self._serving.pop(url)
        self._nginx.route_to([*self._serving])
        service.signal(signal.SIGTERM)
        assert service.wait(30) == 0


@contextmanager
def running_readers(address: str) -> Iterator[list[str]]:
    """Read prices and candles over and over; yield the requests that failed twice in a row."""
    stopping, failures = threading.Event(), list[str]()

    def read(path: str) -> None:
        with httpx.Client(base_url=address, timeout=60) as client:

            def failure() -> str | None:
                try:
                    response = client.get(path)
                except httpx.TransportError as error:
                    return repr(error)
                return None if response.status_code == 200 else f"{response.status_code} {response.text}"

            while not stopping.wait(0.05):
                if failure() and (again := failure()):
                    failures.append(f"{path}: {again}")

    threads = [threading.Thread(target=read, args=(path,)) for path in READS]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


@contextmanager
def behind_nginx(folder: Path, databases: Databases, seed: Path | None) -> Iterator[RollingEnvironment]:
    """Yield services behind nginx."""
    with databases() as url, nginx_for(["127.0.0.1:9"]) as nginx:
        yield RollingEnvironment(folder, url, nginx)
