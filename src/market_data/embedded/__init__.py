"""The default database: TimescaleDB compiled to WebAssembly, run by Node.js in a process of its own.

`owned_engine` starts it and stops it, `attached_engine` uses the one that runs; both yield a DSN for psql, psycopg
and SQLAlchemy. `node_modules` is where its npm packages are, and the scripts of the documentation pages.

Its limits, next to a server:

- It is one process with one session, which connections take in turns, a batch at a time. An open transaction keeps
  everybody else waiting, so one that idles is cut after 15 s (`idle_in_transaction_session_timeout` changes that for
  a connection; 0 is never).
- A statement can't be cancelled: `statement_timeout` and cancel requests have no effect. One that recurses too
  deeply ends the engine, which is then started again with all that was committed.
- Results, pipelines and COPY data are held in memory whole (the latter up to 1 GB a connection; a message may have
  256 MB). COPY FROM STDIN is taken only as a statement of its own, not in one query string with others.
- Temporary tables, cursors WITH HOLD, currval() and session-level advisory locks are shared by all connections: use
  ON COMMIT DROP, and locks of transactions. Prepared statements, settings, roles and LISTEN are kept apart;
  pg_prepared_statements and pg_backend_pid() show the one session. A setting changed by a function's body is noticed
  only after DO, CALL, SET, RESET, or a query that says set_config.
- It speaks UTF-8 only; converting to other character sets (`convert_to(x, 'LATIN1')`) ends the engine, as above.
  `CREATE EXTENSION timescaledb` after a DROP needs a restart.
- Anyone on this machine may connect as any role, without a password. A connection of an ordinary role has that
  role's rights, but that is no defence against one that means harm.
- A killed process loses nothing that was committed. What a power failure leaves is up to the file system: use a
  server for what must not be lost.
"""

from market_data.embedded.engine import attached_engine, owned_engine
from market_data.embedded.errors import EmbeddedUnavailable, EngineBusy, EngineError
from market_data.embedded.packages import node_modules

__all__ = [
    "EmbeddedUnavailable",
    "EngineBusy",
    "EngineError",
    "attached_engine",
    "node_modules",
    "owned_engine",
]
