-- Frozen: part of revision 0012, never edited. The present text of functions and views is in alembic/sql/.
-- The read-only role of analysts.

-- Roles belong to the whole server: another database may have created it, perhaps at this moment.
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
$$;

-- Settings that a user can change for a session are a convenience, which an owner who may not alter the role does without. The
-- protection is that nothing but SELECT is granted.
DO $$
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO analyst', current_database());
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('ALTER ROLE analyst IN DATABASE %I SET default_transaction_read_only = on', current_database());
    EXECUTE format('ALTER ROLE analyst IN DATABASE %I SET statement_timeout = ''60s''', current_database());
    EXECUTE format('ALTER ROLE analyst IN DATABASE %I SET timezone = ''UTC''', current_database());
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'the role analyst has no statement time-out in this database: %', SQLERRM;
END
$$;

GRANT USAGE ON SCHEMA public TO analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO analyst;
REVOKE ALL ON api_keys FROM analyst;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO analyst;
