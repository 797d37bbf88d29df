"""Checks of security: the read-only role, the password of the service, and the hosts that it accepts."""

import os
from collections.abc import Iterator

from psycopg.conninfo import conninfo_to_dict

from market_data.cli.care.checks.finding import CheckContext, Finding, error, ok, warning

ROLE = """
    SELECT rolsuper, rolcreaterole OR rolcreatedb OR rolbypassrls
    FROM pg_roles WHERE rolname = 'analyst'
"""

# Chunks inherit the grants of their hypertable, but may have others.
WRITABLE = """
    SELECT format('%I.%I', nspname, relname)
    FROM pg_class
    JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v') AND (nspname = 'public' OR nspname = '_timescaledb_internal')
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
        AND has_table_privilege('analyst', pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
    ORDER BY nspname DESC, relname
"""

MAY_CREATE = "SELECT has_schema_privilege('analyst', 'public', 'CREATE')"

CANNOT_READ = "SELECT NOT has_table_privilege('analyst', 'public.trades', 'SELECT')"


def analyst(context: CheckContext) -> Iterator[Finding]:
    """Check that the role analyst can read, and nothing else."""
    roles = context.rows(ROLE)
    if not roles:
        yield warning("analyst", "the role is missing", "CREATE ROLE analyst LOGIN CONNECTION LIMIT 20, and GRANT it SELECT")
        return
    superuser, privileged = roles[0]
    writable = [name for (name,) in context.rows(WRITABLE)]
    if superuser or privileged:
        remedy = "ALTER ROLE analyst NOSUPERUSER NOCREATEROLE NOCREATEDB NOBYPASSRLS"
        yield error("analyst", "the role has privileges on the whole server", remedy)
    elif writable:
        finding = f"the role can write to {writable[0]}" + (f" and {len(writable) - 1} more" if writable[1:] else "")
        tables = f"ON {writable[0]}" if not writable[1:] else "ON ALL TABLES IN SCHEMA public"
        yield error("analyst", finding, f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE {tables} FROM analyst, PUBLIC")
    elif context.row(MAY_CREATE)[0]:
        remedy = "REVOKE CREATE ON SCHEMA public FROM analyst, PUBLIC"
        yield error("analyst", "the role can create tables in the schema public", remedy)
    elif context.row(CANNOT_READ)[0]:
        remedy = "GRANT USAGE ON SCHEMA public TO analyst; GRANT SELECT ON trades TO analyst"
        yield warning("analyst", "the role can't read trades", remedy)
    else:
        yield ok("analyst", "the role can read, but not write")


DEFAULT_PASSWORDS = ("marketdata", "postgres", "password", "timescaledb", "analyst")
"""Passwords from examples; the first was that of compose.yaml."""


def password(context: CheckContext) -> Iterator[Finding]:
    """Check that the password of the service is not a published default."""
    given = conninfo_to_dict(context.settings.direct_url or "")
    if given.get("password", os.environ.get("PGPASSWORD")) not in DEFAULT_PASSWORDS:
        yield ok("password", "not a well-known default")
    else:
        remedy = "ALTER ROLE … PASSWORD '…' (\\password in psql), then change DATABASE_URL"
        yield warning("password", f"the password of {given.get('user')} is a well-known default", remedy)


def hosts(context: CheckContext) -> Iterator[Finding]:
    """Report which `Host` the service accepts, to explain a 421."""
    if given := context.settings.allowed_hosts:
        yield ok("hosts", f"requests to {given} and to loopback names are accepted, others get 421 (ALLOWED_HOSTS)")
    else:
        accepted = "if it listens on loopback only, requests to loopback names are accepted, and others get 421"
        yield ok("hosts", f"{accepted}, until ALLOWED_HOSTS has their names; else all are accepted")
