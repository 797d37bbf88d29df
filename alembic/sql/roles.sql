-- Present text of the procedure that limits what roles may do to others.

CREATE OR REPLACE PROCEDURE limit_roles()
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    owner constant text := (SELECT relowner::regrole FROM pg_class WHERE oid = 'public.trades'::regclass);
    base constant text := format('%I', current_database());
    routine regprocedure;
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %s TO analyst', base);
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %s FROM PUBLIC', base);
    -- Settings that a user can change for a session prevent accidents. The protection is that nothing but SELECT is granted.
    BEGIN
        EXECUTE format('ALTER ROLE analyst IN DATABASE %s SET default_transaction_read_only = on', base);
        EXECUTE format('ALTER ROLE analyst IN DATABASE %s SET statement_timeout = ''60s''', base);
        EXECUTE format('ALTER ROLE analyst IN DATABASE %s SET timezone = ''UTC''', base);
        EXECUTE format('ALTER ROLE analyst IN DATABASE %s SET idle_in_transaction_session_timeout = ''60s''', base);
    EXCEPTION
        WHEN insufficient_privilege THEN
            RAISE WARNING 'the role analyst has no time-outs in this database: %', SQLERRM;
    END;
    -- Jobs run as the owner. A job that waits for an exclusive lock makes all later readers wait behind it, so it gives way, and
    -- runs again later. The service's own sessions set their limits themselves.
    EXECUTE format('ALTER ROLE %s IN DATABASE %s SET lock_timeout = ''2s''', owner, base);
    IF NOT current_setting('is_superuser')::boolean THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER ROLE analyst IN DATABASE %s SET temp_file_limit = ''2GB''', base);
    -- Without privileges on any table, a role could create jobs that never end, and large objects of any size, and fill the
    -- lock table of the whole server with advisory locks.
    FOR routine IN
        SELECT oid::regprocedure
        FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND (
            proname IN (
                'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_open', 'lo_put', 'lo_truncate', 'lo_truncate64', 'lo_unlink',
                'lowrite'
            )
            OR proname ~ '^pg_(try_)?advisory_(xact_)?lock'
        )
        UNION ALL
        SELECT pg_proc.oid::regprocedure
        FROM pg_proc
        JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
        JOIN pg_extension ON refclassid = 'pg_extension'::regclass AND refobjid = pg_extension.oid
        WHERE extname = 'timescaledb' AND proname IN ('add_job', 'alter_job', 'delete_job', 'run_job')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', routine, owner);
    END LOOP;
END
$$;
