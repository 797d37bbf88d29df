"""Who may do what: the read-only role, and passwords that everybody knows."""

from collections.abc import Iterator

from psycopg.conninfo import conninfo_to_dict

from market_data.cli.care.checks.finding import CheckContext, Finding, error, ok, warning

ROLE = """
    SELECT rolsuper, rolcreaterole OR rolcreatedb OR rolbypassrls
    FROM pg_roles WHERE rolname = 'analyst'
"""

# Chunks have the grants of their hypertables, or others that somebody has given them.
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

BLIND = "SELECT NOT has_table_privilege('analyst', 'public.trades', 'SELECT')"


def analyst(patient: CheckContext) -> Iterator[Finding]:
    """Whether the role that may only read can't do more, nor less."""
    roles = patient.rows(ROLE)
    if not roles:
        yield warning("analyst", "the role is missing", "CREATE ROLE analyst LOGIN CONNECTION LIMIT 20, and GRANT it SELECT")
        return
    superuser, powers = roles[0]
    writable = [name for (name,) in patient.rows(WRITABLE)]
    if superuser or powers:
        remedy = "ALTER ROLE analyst NOSUPERUSER NOCREATEROLE NOCREATEDB NOBYPASSRLS"
        yield error("analyst", "the role has powers over the whole server", remedy)
    elif writable:
        finding = f"the role can write to {writable[0]}" + (f" and {len(writable) - 1} more" if writable[1:] else "")
        what = f"ON {writable[0]}" if not writable[1:] else "ON ALL TABLES IN SCHEMA public"
        yield error("analyst", finding, f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE {what} FROM analyst, PUBLIC")
    elif patient.row(MAY_CREATE)[0]:
        remedy = "REVOKE CREATE ON SCHEMA public FROM analyst, PUBLIC"
        yield error("analyst", "the role can create tables in the schema public", remedy)
    elif patient.row(BLIND)[0]:
        remedy = "GRANT USAGE ON SCHEMA public TO analyst; GRANT SELECT ON trades TO analyst"
        yield warning("analyst", "the role can't read trades", remedy)
    else:
        yield ok("analyst", "the role can read and not write")


KNOWN = ("marketdata", "postgres", "password", "timescaledb")
"""Passwords of examples, compose.yaml's first."""

LOCAL = ("127.0.0.1", "::1", "localhost", "db")


def password(patient: CheckContext) -> Iterator[Finding]:
    """Whether the service logs in with a password that stands in a manual."""
    given = conninfo_to_dict(patient.settings.direct_url or "")
    host = str(given.get("host") or "")
    if given.get("password") not in KNOWN or host in LOCAL or host.startswith("/"):
        yield ok("password", "none of those that everybody knows, or not reached from outside")
    else:
        remedy = "ALTER ROLE … PASSWORD '…' (\\password in psql), then change DATABASE_URL"
        yield warning("password", f"that of {given.get('user')} is a well-known default", remedy)
