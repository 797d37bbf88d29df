-- Present text of the functions and views of reference data: calendars and their sessions.

CREATE OR REPLACE FUNCTION reference_write() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this bigint := nullif(current_setting('market_data.reference_write', true), '')::bigint;
BEGIN
    IF this IS NULL THEN
        this := nextval('write_ids');
        INSERT INTO pending_commits (write_id, kind, trade_count) VALUES (this, 'reference', 0);
        PERFORM set_config('market_data.reference_write', this::text, true);
    END IF;
    RETURN this;
END
$$;

CREATE OR REPLACE FUNCTION is_visible(write_id bigint, ended_write_id bigint, newest bigint, late bigint[]) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT write_id <= newest AND write_id <> ALL (late)
        AND (ended_write_id IS NULL OR ended_write_id > newest OR ended_write_id = ANY (late))
$$;

CREATE OR REPLACE FUNCTION symbol_calendar_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    before constant text := CASE WHEN TG_OP <> 'INSERT' THEN old.calendar ELSE '24/7' END;
    after constant text := CASE WHEN TG_OP <> 'DELETE' THEN new.calendar ELSE '24/7' END;
    this bigint;
BEGIN
    IF before = after THEN
        RETURN NULL;
    END IF;
    this := reference_write();
    DELETE FROM symbol_calendars WHERE symbol = coalesce(new.symbol, old.symbol) AND write_id = this;
    UPDATE symbol_calendars
    SET ended_write_id = this
    WHERE symbol = coalesce(new.symbol, old.symbol) AND ended_write_id IS NULL;
    IF after <> '24/7' THEN
        INSERT INTO symbol_calendars (symbol, calendar, write_id) VALUES (new.symbol, after, this);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION calendar_sessions_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE calendars
    SET write_id = reference_write()
    WHERE code IN (SELECT calendar FROM changed);
    RETURN NULL;
END
$$;

CREATE OR REPLACE VIEW sessions AS
SELECT
    calendar, day, opens_at, closes_at, break_starts_at, break_ends_at, pre_opens_at, post_closes_at, auction_ends_at
FROM calendar_sessions
WHERE ended_write_id IS NULL;
