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

CREATE OR REPLACE FUNCTION session_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    given constant text := CASE WHEN TG_OP = 'INSERT' THEN new.calendar ELSE old.calendar END;
    kept calendars;
    this bigint;
    earlier sessions;
    later sessions;
BEGIN
    SELECT * INTO kept FROM calendars WHERE code = given FOR NO KEY UPDATE;
    IF kept.code IS NULL THEN
        RAISE EXCEPTION 'there is no calendar %', given USING
            ERRCODE = 'foreign_key_violation',
            HINT = 'Add it first: INSERT INTO calendars (code, name, time_zone, source) VALUES (..., ''own'').';
    ELSIF kept.source <> 'own' OR given = '24/7' THEN
        RAISE EXCEPTION 'the sessions of % cannot be changed here', given USING
            ERRCODE = 'check_violation',
            HINT = 'Only own calendars can be changed here; `market-data calendars refresh` would undo the change.';
    ELSIF TG_OP = 'UPDATE' THEN
        IF new IS NOT DISTINCT FROM old THEN
            RETURN new;
        ELSIF new.calendar IS DISTINCT FROM old.calendar OR new.day IS DISTINCT FROM old.day THEN
            RAISE EXCEPTION 'a session stays with its calendar and day' USING
                ERRCODE = 'check_violation', HINT = 'Delete it, and insert another.';
        END IF;
    END IF;
    this := reference_write();
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM calendar_sessions
        WHERE calendar = old.calendar AND day = old.day AND write_id = this AND ended_write_id IS NULL;
        IF NOT FOUND THEN
            UPDATE calendar_sessions SET ended_write_id = this
            WHERE calendar = old.calendar AND day = old.day AND ended_write_id IS NULL;
            IF NOT FOUND THEN
                RETURN NULL;
            END IF;
        END IF;
        IF TG_OP = 'DELETE' THEN
            RETURN old;
        END IF;
        IF new.pre_opens_at = old.pre_opens_at THEN
            new.pre_opens_at := new.opens_at - (old.opens_at - old.pre_opens_at);
        END IF;
        IF new.post_closes_at = old.post_closes_at THEN
            new.post_closes_at := new.closes_at + (old.post_closes_at - old.closes_at);
        END IF;
        IF new.auction_ends_at = old.auction_ends_at THEN
            new.auction_ends_at := new.closes_at + (old.auction_ends_at - old.closes_at);
        END IF;
    END IF;
    SELECT * INTO earlier FROM sessions WHERE calendar = given AND day < new.day ORDER BY day DESC LIMIT 1;
    SELECT * INTO later FROM sessions WHERE calendar = given AND day > new.day ORDER BY day LIMIT 1;
    IF earlier.closes_at > new.opens_at OR later.opens_at < new.closes_at THEN
        RAISE EXCEPTION 'the session of % on % overlaps the one before or after it', given, new.day
            USING ERRCODE = 'exclusion_violation';
    END IF;
    IF greatest(earlier.post_closes_at, earlier.auction_ends_at) > new.opens_at THEN
        UPDATE sessions
        SET post_closes_at = least(post_closes_at, new.opens_at), auction_ends_at = least(auction_ends_at, new.opens_at)
        WHERE calendar = given AND day = earlier.day
        RETURNING post_closes_at, auction_ends_at INTO earlier.post_closes_at, earlier.auction_ends_at;
    END IF;
    new.auction_ends_at := least(
        coalesce(new.auction_ends_at, new.closes_at + kept.auction_minutes * INTERVAL '1 minute'), later.opens_at
    );
    IF later.pre_opens_at < new.auction_ends_at THEN
        UPDATE sessions
        SET pre_opens_at = new.auction_ends_at
        WHERE calendar = given AND day = later.day
        RETURNING pre_opens_at INTO later.pre_opens_at;
    END IF;
    new.pre_opens_at := greatest(
        coalesce(new.pre_opens_at, new.opens_at - kept.pre_market_minutes * INTERVAL '1 minute'),
        earlier.post_closes_at, earlier.auction_ends_at
    );
    new.post_closes_at := least(
        coalesce(new.post_closes_at, new.closes_at + kept.post_market_minutes * INTERVAL '1 minute'), later.pre_opens_at
    );
    INSERT INTO calendar_sessions (
        calendar, day, opens_at, closes_at, break_starts_at, break_ends_at, pre_opens_at, post_closes_at, auction_ends_at,
        write_id
    ) VALUES (
        given, new.day, new.opens_at, new.closes_at, new.break_starts_at, new.break_ends_at, new.pre_opens_at,
        new.post_closes_at, new.auction_ends_at, this
    );
    RETURN new;
END
$$;
