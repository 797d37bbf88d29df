"""The read-only role of analysts.

Revision: 0005
Follows: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Roles belong to the whole server: another database may have brought it, perhaps at this moment.
    op.execute("""
        DO $$
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'analyst') THEN
                CREATE ROLE analyst LOGIN CONNECTION LIMIT 20;
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE insufficient_privilege USING
                    MESSAGE = 'this role may not create roles: let a superuser run CREATE ROLE analyst LOGIN once';
        END
        $$
    """)
    # What a user can change for a session is a help, which an owner who may not alter the role does without; the wall is
    # that nothing but SELECT is granted.
    op.execute("""
        DO $$
        BEGIN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO analyst', current_database());
            EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
            EXECUTE format('ALTER ROLE analyst IN DATABASE %I SET default_transaction_read_only = on', current_database());
            EXECUTE format('ALTER ROLE analyst IN DATABASE %I SET statement_timeout = ''60s''', current_database());
            EXECUTE format('ALTER ROLE analyst IN DATABASE %I SET timezone = ''UTC''', current_database());
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE WARNING 'the role analyst is left without a statement time-out in this database: %', SQLERRM;
        END
        $$
    """)
    op.execute("GRANT USAGE ON SCHEMA public TO analyst")
    op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO analyst")
    op.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO analyst")


def downgrade() -> None:
    op.execute("ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM analyst")
    op.execute("REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM analyst")
    op.execute("REVOKE USAGE ON SCHEMA public FROM analyst")
    # The role itself stays: other databases may use it.
    op.execute("""
        DO $$
        BEGIN
            EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
            EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM analyst', current_database());
            EXECUTE format('ALTER ROLE analyst IN DATABASE %I RESET ALL', current_database());
        EXCEPTION
            WHEN insufficient_privilege THEN NULL;
        END
        $$
    """)
