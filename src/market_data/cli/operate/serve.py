"""The service, once its database is there and migrated."""

import os
import shlex
from contextlib import ExitStack

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from market_data import embedded
from market_data.cli.console import progress
from market_data.cli.runner import migrate_when_there
from market_data.embedded import EngineError
from market_data.server.serve import listen, serve
from market_data.settings import Settings


def serve_on(settings: Settings, host: str, port: int, workers: int) -> int:
    """Serve until told to stop, on DATABASE_URL or the embedded engine. Returns the exit status."""
    with ExitStack() as stack:
        if settings.database_url is not None:
            bound = stack.enter_context(listen(host, port))
            database_url = settings.database_url
        else:
            # Before the socket, so that a second service on this folder hears of the first one, not of its port.
            engine = embedded.owned_engine(settings.home, say=progress, port=settings.embedded_port)
            database_url = stack.enter_context(engine)
            bound = stack.enter_context(listen(host, port))
            database_port = conninfo_to_dict(database_url)["port"]
            if settings.embedded_port and str(database_port) != str(settings.embedded_port):
                progress(f"port {settings.embedded_port} is in use, so the database is on port {database_port}")
        migrate_when_there(settings.direct_url or database_url, settings.database_start_timeout_seconds)
        os.environ["DATABASE_URL"] = database_url
        assets = settings.docs_assets or _installed_assets()
        os.environ["DOCS_ASSETS"] = assets

        def ready(base: str) -> None:
            progress(f"ready on {base}, dashboard on {base}/dashboard, docs on {base}/docs" if assets else f"ready on {base}")
            progress(f"database: psql {shlex.quote(_without_password(settings.direct_url or database_url))}")

        serve(bound, workers, ready)
    return 0


def _installed_assets() -> str:
    """The folder of the pages' scripts; none where they can't be installed, which stops nothing else."""
    try:
        return str(embedded.node_modules(progress))
    except EngineError as error:
        progress(f"no dashboard and no documentation pages: {error}")
        return ""


def _without_password(database_url: str) -> str:
    """How psql connects to the same database; it asks for a password where one is needed."""
    parameters = conninfo_to_dict(database_url)
    return make_conninfo(**{name: str(value) for name, value in parameters.items() if "password" not in name})
