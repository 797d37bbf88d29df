"""Check of the limits of roles."""

from collections.abc import Iterator

from market_data.cli.care.checks.finding import CheckContext, Finding, ok, warning
from market_data.cli.care.checks.security import ROLE

ANYBODY_MAY = """
    SELECT CASE
        WHEN proname LIKE 'lo%' THEN 'create large objects of any size'
        WHEN proname LIKE 'pg%' THEN 'fill the lock table of the server with advisory locks'
        ELSE 'create background jobs'
    END
    FROM pg_proc
    WHERE (
            proname IN ('add_job', 'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_open', 'lo_put', 'lowrite')
            OR proname ~ '^pg_(try_)?advisory_(xact_)?lock'
        )
        AND pronamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace)
        AND has_function_privilege('analyst', oid, 'EXECUTE')
    UNION
    SELECT 'create temporary tables'
    WHERE has_database_privilege('analyst', current_database(), 'TEMPORARY')
    ORDER BY 1
"""

# A user may change the settings of his own login, and of roles that he may switch to, in this database or in all.
LIFTED = """
    SELECT login.rolname::text, string_agg(expected.name, ', ' ORDER BY expected.name)
    FROM pg_roles AS login
    CROSS JOIN (
        VALUES ('statement_timeout'), ('idle_in_transaction_session_timeout'), ('default_transaction_read_only')
    ) AS expected (name)
    LEFT JOIN LATERAL (
        SELECT split_part(item, '=', 2) AS value
        FROM pg_db_role_setting AS setting
        CROSS JOIN unnest(setting.setconfig) AS item
        WHERE setting.setrole = login.oid AND split_part(item, '=', 1) = expected.name
            AND setting.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        ORDER BY setting.setdatabase DESC
        LIMIT 1
    ) AS given ON true
    WHERE login.rolcanlogin AND NOT login.rolsuper AND pg_has_role(login.oid, 'analyst', 'MEMBER')
        AND login.oid <> (SELECT relowner FROM pg_class WHERE oid = 'trades'::regclass)
        AND CASE
            WHEN value IS NULL THEN login.rolname = 'analyst'
            ELSE value IN ('0', '0s', '0ms', '0min', 'off') OR value ~ '[0-9] *(h|d)$'
        END
    GROUP BY login.rolname
    ORDER BY login.rolname
"""

SWITCHERS = """
    SELECT member.rolname::text
    FROM pg_auth_members AS membership
    JOIN pg_roles AS member ON member.oid = membership.member
    WHERE membership.roleid = (SELECT oid FROM pg_roles WHERE rolname = 'analyst') AND membership.set_option
        AND member.rolcanlogin AND NOT member.rolsuper
        AND member.oid <> (SELECT relowner FROM pg_class WHERE oid = 'trades'::regclass)
    ORDER BY member.rolname
"""

FOREIGN_JOBS = """
    SELECT job_id, owner::text
    FROM timescaledb_information.jobs
    WHERE job_id >= 1000 AND owner <> (SELECT relowner FROM pg_class WHERE oid = 'trades'::regclass)
    ORDER BY job_id
"""

MAY_END_SESSIONS = """
    SELECT pg_has_role('pg_signal_backend', 'USAGE') OR rolsuper FROM pg_roles WHERE rolname = current_user
"""

WRITERS = """
    SELECT rolname::text
    FROM pg_roles
    CROSS JOIN (SELECT relowner FROM pg_class WHERE oid = 'trades'::regclass) AS trades
    WHERE rolcanlogin AND NOT rolsuper AND rolname <> 'analyst' AND NOT pg_has_role(pg_roles.oid, relowner, 'USAGE') AND (
        has_any_column_privilege(pg_roles.oid, 'trades', 'INSERT, UPDATE')
        OR has_table_privilege(pg_roles.oid, 'trades', 'DELETE, TRUNCATE')
    )
    ORDER BY rolname
"""

OTHER_DATABASES = """
    SELECT datname::text
    FROM pg_database
    WHERE datallowconn AND datname <> current_database() AND has_database_privilege('analyst', oid, 'CONNECT')
    ORDER BY datname
"""


def roles(context: CheckContext) -> Iterator[Finding]:
    """Find roles that could do harm: jobs, large objects, lifted time-outs, writes in SQL."""
    if not context.rows(ROLE):
        return  # the check `analyst` reports it
    found = list(_problems(context))
    yield from found
    if not found:
        others = [name for (name,) in context.rows(OTHER_DATABASES)]
        noted = (
            f"; analyst can also connect to {', '.join(others)} (REVOKE CONNECT ON DATABASE … FROM PUBLIC)" if others else ""
        )
        yield ok("roles", f"nobody but the owner writes trades in SQL, or creates jobs or large objects{noted}")


def _problems(context: CheckContext) -> Iterator[Finding]:
    for (action,) in context.rows(ANYBODY_MAY):
        yield warning("roles", f"any role can {action}", "let a superuser CALL limit_roles() in this database")
    for role, names in context.rows(LIFTED):
        remedy = "CALL limit_roles()" if role == "analyst" else f"ALTER ROLE {role} IN DATABASE … SET … (see Security)"
        yield warning("roles", f"{role} has no limit in this database by {names}", remedy)
    for (role,) in context.rows(SWITCHERS):
        finding = f"{role} can SET ROLE analyst, and change its password and settings"
        yield warning("roles", finding, f"REVOKE SET OPTION FOR analyst FROM {role}")
    for job, owner in context.rows(FOREIGN_JOBS):
        yield warning("roles", f"job {job} runs as {owner}, who does not own the tables", f"SELECT delete_job({job})")
    for (role,) in context.rows(WRITERS):
        finding = f"{role} can write trades in SQL, so also into chunks, which passes the triggers"
        yield warning("roles", finding, "trust the role as the owner, or give it an API key instead")
    if not context.row(MAY_END_SESSIONS)[0]:
        finding = "the service may not end sessions that block its jobs"
        yield warning("roles", finding, "let a superuser GRANT pg_signal_backend to the role of the service")
