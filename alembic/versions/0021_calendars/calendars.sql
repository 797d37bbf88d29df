-- Frozen: part of revision 0021, never edited. The present text of functions and views is in alembic/sql/.
-- Attributes of symbols, calendars, and the versions of both.

CREATE FUNCTION reference_write() RETURNS bigint
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

REVOKE EXECUTE ON FUNCTION reference_write() FROM PUBLIC;

COMMENT ON FUNCTION reference_write() IS
    'The write_id of the changes of reference data (calendars, corporate actions) in this transaction, which takes a version.';
COMMENT ON COLUMN commits.kind IS
    'store: trades were stored; correct: trades were corrected, or got another symbol, time or trade_id (a cancel in '
    'trade_changes); cancel: trades were deleted; truncate: all trades were deleted; '
    'close: candles closed; revise: closed candles changed; reference: calendars or corporate actions changed; '
    'restore: the database was restored from a backup, and versions '
    'between the previous row and this one may have been used before.';
COMMENT ON COLUMN commits.write_id IS
    'The statement: trades.write_id, trade_changes.write_id, stream_events.write_id or calendar_sessions.write_id.';

CREATE FUNCTION is_visible(write_id bigint, ended_write_id bigint, newest bigint, late bigint[]) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT write_id <= newest AND write_id <> ALL (late)
        AND (ended_write_id IS NULL OR ended_write_id > newest OR ended_write_id = ANY (late))
$$;

COMMENT ON FUNCTION is_visible(bigint, bigint, bigint, bigint[]) IS
    'True if a row of reference data was there at a version, given what writes_as_of() returns of it.';

CREATE TABLE calendars (
    code text NOT NULL,
    name text NOT NULL,
    time_zone text NOT NULL,
    source text NOT NULL,
    pre_market_minutes integer NOT NULL DEFAULT 0,
    post_market_minutes integer NOT NULL DEFAULT 0,
    auction_minutes integer NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL DEFAULT now(),
    write_id bigint NOT NULL DEFAULT 0,
    CONSTRAINT calendars_pkey PRIMARY KEY (code),
    CONSTRAINT calendars_code_form CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_./-]{0,31}$'),
    CONSTRAINT calendars_source_known CHECK (source IN ('exchange_calendars', 'own')),
    CONSTRAINT calendars_minutes_in_range CHECK (
        pre_market_minutes BETWEEN 0 AND 1440 AND post_market_minutes BETWEEN 0 AND 1440
        AND auction_minutes BETWEEN 0 AND 60
    )
);

COMMENT ON TABLE calendars IS 'Calendars of trading sessions. 24/7 has no rows in calendar_sessions: each UTC day is a session.';
COMMENT ON COLUMN calendars.code IS 'Code: that of exchange_calendars, such as XNYS, or an own one.';
COMMENT ON COLUMN calendars.name IS 'Name for people.';
COMMENT ON COLUMN calendars.time_zone IS 'IANA time zone of the days.';
COMMENT ON COLUMN calendars.source IS 'exchange_calendars if that library has the sessions; own if people keep them.';
COMMENT ON COLUMN calendars.pre_market_minutes IS 'Length of the pre-market before each open.';
COMMENT ON COLUMN calendars.post_market_minutes IS 'Length of the post-market after each close.';
COMMENT ON COLUMN calendars.auction_minutes IS
    'Minutes after the close during which trades belong to the closing auction, and so to the regular session.';
COMMENT ON COLUMN calendars.changed_at IS 'Time of the last change of this row.';
COMMENT ON COLUMN calendars.write_id IS 'The last statement that changed sessions of the calendar; 0 before the first.';

INSERT INTO calendars (code, name, time_zone, source) VALUES ('24/7', 'Always open', 'UTC', 'own');

CREATE TABLE calendar_sessions (
    calendar text NOT NULL,
    day date NOT NULL,
    opens_at timestamptz NOT NULL,
    closes_at timestamptz NOT NULL,
    break_starts_at timestamptz,
    break_ends_at timestamptz,
    pre_opens_at timestamptz NOT NULL,
    post_closes_at timestamptz NOT NULL,
    auction_ends_at timestamptz NOT NULL,
    write_id bigint NOT NULL,
    ended_write_id bigint,
    CONSTRAINT calendar_sessions_pkey PRIMARY KEY (calendar, day, write_id),
    CONSTRAINT calendar_sessions_calendar_fkey FOREIGN KEY (calendar) REFERENCES calendars (code),
    CONSTRAINT calendar_sessions_in_order CHECK (
        pre_opens_at <= opens_at AND opens_at < closes_at AND closes_at <= auction_ends_at
        AND closes_at <= post_closes_at
    ),
    CONSTRAINT calendar_sessions_break_inside CHECK (
        (break_starts_at IS NULL AND break_ends_at IS NULL)
        OR (opens_at < break_starts_at AND break_starts_at < break_ends_at AND break_ends_at < closes_at)
    ),
    CONSTRAINT calendar_sessions_whole_minutes CHECK (
        extract(epoch FROM opens_at) % 60 = 0 AND extract(epoch FROM closes_at) % 60 = 0
        AND extract(epoch FROM pre_opens_at) % 60 = 0 AND extract(epoch FROM post_closes_at) % 60 = 0
        AND extract(epoch FROM auction_ends_at) % 60 = 0
        AND coalesce(extract(epoch FROM break_starts_at) % 60, 0) = 0
        AND coalesce(extract(epoch FROM break_ends_at) % 60, 0) = 0
    )
);

CREATE UNIQUE INDEX calendar_sessions_current ON calendar_sessions (calendar, day) WHERE ended_write_id IS NULL;

COMMENT ON TABLE calendar_sessions IS
    'Trading sessions, with all former states of them. The view sessions has the present ones.';
COMMENT ON COLUMN calendar_sessions.calendar IS 'calendars.code.';
COMMENT ON COLUMN calendar_sessions.day IS 'Date of the session at the exchange. It may open on the day before.';
COMMENT ON COLUMN calendar_sessions.opens_at IS 'Start of regular trading.';
COMMENT ON COLUMN calendar_sessions.closes_at IS 'End of regular trading, exclusive.';
COMMENT ON COLUMN calendar_sessions.break_starts_at IS 'Start of the lunch break; null without one.';
COMMENT ON COLUMN calendar_sessions.break_ends_at IS 'End of the lunch break; null without one.';
COMMENT ON COLUMN calendar_sessions.pre_opens_at IS 'Start of the pre-market; opens_at without one.';
COMMENT ON COLUMN calendar_sessions.post_closes_at IS 'End of the post-market; closes_at without one.';
COMMENT ON COLUMN calendar_sessions.auction_ends_at IS
    'End of the closing auction: trades from closes_at until then belong to the regular session.';
COMMENT ON COLUMN calendar_sessions.write_id IS 'The statement that added the row, as commits.write_id.';
COMMENT ON COLUMN calendar_sessions.ended_write_id IS 'The statement that replaced or removed it; null for a present session.';

CREATE FUNCTION calendar_sessions_changed() RETURNS trigger
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

COMMENT ON FUNCTION calendar_sessions_changed() IS 'Records in calendars the statement that changed sessions.';

CREATE TRIGGER calendar_sessions_inserted AFTER INSERT ON calendar_sessions
REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION calendar_sessions_changed();
CREATE TRIGGER calendar_sessions_updated AFTER UPDATE ON calendar_sessions
REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION calendar_sessions_changed();

CREATE VIEW sessions AS
SELECT
    calendar, day, opens_at, closes_at, break_starts_at, break_ends_at, pre_opens_at, post_closes_at, auction_ends_at
FROM calendar_sessions
WHERE ended_write_id IS NULL;

COMMENT ON VIEW sessions IS
    'Trading sessions of all calendars but 24/7. INSERT, UPDATE and DELETE change those of own calendars, and take a version.';
COMMENT ON COLUMN sessions.calendar IS 'calendars.code.';
COMMENT ON COLUMN sessions.day IS 'Date of the session at the exchange. It may open on the day before.';
COMMENT ON COLUMN sessions.opens_at IS 'Start of regular trading.';
COMMENT ON COLUMN sessions.closes_at IS 'End of regular trading, exclusive.';
COMMENT ON COLUMN sessions.break_starts_at IS 'Start of the lunch break; null without one.';
COMMENT ON COLUMN sessions.break_ends_at IS 'End of the lunch break; null without one.';
COMMENT ON COLUMN sessions.pre_opens_at IS 'Start of the pre-market; opens_at without one.';
COMMENT ON COLUMN sessions.post_closes_at IS 'End of the post-market; closes_at without one.';
COMMENT ON COLUMN sessions.auction_ends_at IS 'End of the closing auction, whose trades belong to the regular session.';

CREATE FUNCTION session_changed() RETURNS trigger
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

COMMENT ON FUNCTION session_changed() IS
    'Lets people change the sessions of own calendars through the view sessions. Former sessions stay, for reads of the past; '
    'the pre-market, the post-market and the auction follow from the settings of the calendar if they are not given.';

CREATE TRIGGER session_changed INSTEAD OF INSERT OR UPDATE OR DELETE ON sessions
FOR EACH ROW EXECUTE FUNCTION session_changed();

ALTER TABLE symbols
    ADD COLUMN type text NOT NULL DEFAULT 'other',
    ADD COLUMN calendar text NOT NULL DEFAULT '24/7',
    ADD COLUMN tick_size numeric,
    ADD COLUMN listed date,
    ADD COLUMN delisted date,
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD COLUMN aliases text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT symbols_type_known
        CHECK (type IN ('stock', 'etf', 'crypto', 'fx', 'future', 'index', 'other')),
    ADD CONSTRAINT symbols_calendar_fkey FOREIGN KEY (calendar) REFERENCES calendars (code),
    ADD CONSTRAINT symbols_tick_size_positive CHECK (tick_size > 0 AND tick_size < 1e30 AND scale(tick_size) <= 30),
    ADD CONSTRAINT symbols_delisted_after_listed CHECK (delisted >= listed);

COMMENT ON COLUMN symbols.type IS 'stock, etf, crypto, fx, future, index or other.';
COMMENT ON COLUMN symbols.calendar IS 'calendars.code: the sessions in which the symbol is traded.';
COMMENT ON COLUMN symbols.tick_size IS 'Smallest step of the price; null if unknown.';
COMMENT ON COLUMN symbols.listed IS 'First day of trading at the exchange; null if unknown.';
COMMENT ON COLUMN symbols.delisted IS 'Last day of trading at the exchange; null while it is listed, or if unknown.';
COMMENT ON COLUMN symbols.description IS 'Text for people.';
COMMENT ON COLUMN symbols.aliases IS 'Further names by which people find the symbol in a search.';

CREATE TABLE symbol_calendars (
    symbol text NOT NULL,
    calendar text NOT NULL,
    write_id bigint NOT NULL,
    ended_write_id bigint,
    CONSTRAINT symbol_calendars_pkey PRIMARY KEY (symbol, write_id)
);

COMMENT ON TABLE symbol_calendars IS
    'Calendars of symbols other than 24/7, with all former ones, for reads of the past. A trigger on symbols maintains it.';
COMMENT ON COLUMN symbol_calendars.symbol IS 'symbols.symbol.';
COMMENT ON COLUMN symbol_calendars.calendar IS 'calendars.code.';
COMMENT ON COLUMN symbol_calendars.write_id IS 'The statement that assigned the calendar, as commits.write_id.';
COMMENT ON COLUMN symbol_calendars.ended_write_id IS 'The statement that assigned another one; null for the present calendar.';

CREATE FUNCTION symbol_calendar_changed() RETURNS trigger
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

COMMENT ON FUNCTION symbol_calendar_changed() IS 'Keeps the calendars that symbols had, for reads of the past.';

CREATE TRIGGER symbol_calendar_changed AFTER INSERT OR UPDATE OF calendar OR DELETE ON symbols
FOR EACH ROW EXECUTE FUNCTION symbol_calendar_changed();

CREATE FUNCTION candle_minutes(symbol text, minutes timestamptz[])
RETURNS TABLE (
    bucket timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, turnover numeric,
    trade_count bigint, write_id bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    IF cardinality(minutes) <= 100 THEN
        RETURN QUERY
        SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
        FROM public.candles_1m AS c
        WHERE c.symbol = candle_minutes.symbol AND c.bucket = ANY (minutes)
            AND c.bucket >= minutes[1] AND c.bucket <= minutes[array_upper(minutes, 1)];
    ELSE
        -- Hashed: in the columnstore, each row would be compared with each minute.
        RETURN QUERY
        SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
        FROM public.candles_1m AS c
        WHERE c.symbol = candle_minutes.symbol AND c.bucket IN (SELECT unnest(minutes))
            AND c.bucket >= minutes[1] AND c.bucket <= minutes[array_upper(minutes, 1)];
    END IF;
END
$$;

COMMENT ON FUNCTION candle_minutes(text, timestamptz[]) IS
    'Candles of single minutes of a symbol, given in order: planned once, because estimates for hundreds of minutes take long.';
