-- Frozen: part of revision 0013, never edited. The present text of functions and views is in alembic/sql/.
-- Stream events of corrected and cancelled trades, and of bulk history.

ALTER TABLE stream_events
    ADD COLUMN late boolean NOT NULL DEFAULT false,
    ADD COLUMN change text,
    ADD COLUMN latest_time timestamptz,
    ADD COLUMN latest_price numeric,
    ADD COLUMN latest_volume numeric,
    ADD COLUMN until timestamptz,
    DROP CONSTRAINT stream_events_kind_known,
    ADD CONSTRAINT stream_events_kind_known CHECK (kind IN ('trade', 'closing', 'revision', 'reload')),
    ADD CONSTRAINT stream_events_change_known CHECK (change IN ('corrected', 'cancelled'));

COMMENT ON TABLE stream_events IS
    'Events of the streams, kept for an hour: each trade stored, corrected or cancelled, except in bulk or while '
    'market_data.stream is off, and each candle that closed or changed afterwards. Ordered by the version in commits, then by '
    'number.';
COMMENT ON COLUMN stream_events.kind IS
    'trade: was stored, corrected or cancelled; closing: the candle of symbol and interval closed; revision: candles of all '
    'intervals changed, and are refreshed; reload: as a revision, for all candles from time to until, and their trades, which '
    'have no events.';
COMMENT ON COLUMN stream_events.time IS 'Time of the trade; of candles, start of the bucket; of a reload, of the first trade.';
COMMENT ON COLUMN stream_events.price IS 'Of a trade: price of one unit, exact; after a correction, before a cancellation.';
COMMENT ON COLUMN stream_events.volume IS 'Of a trade: units traded, exact; after a correction, before a cancellation.';
COMMENT ON COLUMN stream_events.late IS
    'Of a trade: true if its candles were materialized without it, so that a revision follows.';
COMMENT ON COLUMN stream_events.change IS
    'Of a trade: corrected if it got another price or volume; cancelled if it was deleted, or got another symbol, time or '
    'trade_id (an event of the new one follows); null if it was stored.';
COMMENT ON COLUMN stream_events.latest_time IS 'Of a change: time of the latest trade of the symbol after it; null if none is left.';
COMMENT ON COLUMN stream_events.latest_price IS 'Of a change: price of the latest trade.';
COMMENT ON COLUMN stream_events.latest_volume IS 'Of a change: volume of the latest trade.';
COMMENT ON COLUMN stream_events.until IS 'Of a reload: time after the last trade, exclusive.';

ALTER TABLE stream_late_candles
    ADD COLUMN write_id bigint NOT NULL DEFAULT 0,
    ADD COLUMN until timestamptz;
UPDATE stream_late_candles SET write_id = (SELECT last_value FROM write_ids);
ALTER TABLE stream_late_candles ALTER COLUMN write_id DROP DEFAULT;

COMMENT ON TABLE stream_late_candles IS
    'Candles that got, lost or changed a trade when they were materialized: published as revisions once they are refreshed. '
    'Ranges of bulk history are published as reloads.';
COMMENT ON COLUMN stream_late_candles.write_id IS 'Statement that wrote the trade.';
COMMENT ON COLUMN stream_late_candles.bucket IS 'Start of the minute; of bulk history, time of the first trade.';
COMMENT ON COLUMN stream_late_candles.until IS 'Of bulk history: time after the last trade, exclusive; else null.';

CREATE OR REPLACE FUNCTION number_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this bigint;
    clock bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    committed timestamptz;
    fresh timestamptz;
BEGIN
    -- Behind the lock of the transaction that commits, so versions follow the order of commits however long before them the
    -- statements ran. It costs no concurrency that NOTIFY, whose senders commit one by one, doesn't cost already. Readers need
    -- not hold back versions above the oldest running transaction, which may be a refresh that takes minutes. A lock on a table,
    -- because any role could take an advisory one.
    LOCK TABLE stream_commit_lock IN EXCLUSIVE MODE;
    this := nextval('versions');
    clock := greatest(clock, (SELECT last_value FROM commit_clock));
    PERFORM setval('commit_clock', clock);
    committed := to_timestamp(0) + clock * INTERVAL '1 microsecond';
    DELETE FROM pending_commits WHERE write_id = new.write_id AND kind = new.kind;
    IF new.kind = 'truncate' THEN
        SELECT sum(trade_count) INTO new.trade_count FROM data_version;
    END IF;
    INSERT INTO commits (version, kind, write_id, committed_at, trade_count, first_time, last_time, closed_until)
    SELECT this, new.kind, new.write_id, committed, new.trade_count, new.first_time, new.last_time, closed_until
    FROM stream_progress;
    IF NOT EXISTS (SELECT FROM commit_blocks WHERE block = this / 10000 AND write_id <= new.write_id) THEN
        INSERT INTO commit_blocks (block, write_id) VALUES (this / 10000, new.write_id);
    END IF;
    PERFORM update_data_version(this, CASE
        WHEN new.kind = 'store' THEN new.trade_count
        WHEN new.kind IN ('cancel', 'truncate') THEN -new.trade_count
        ELSE 0
    END);
    -- Behind the lock, too: a refresh that began before has set the bound, one that begins later sees the trades.
    fresh := fresh_since();
    IF new.first_fresh < fresh THEN
        INSERT INTO stale_ranges (write_id, since, until)
        VALUES (new.write_id, new.first_fresh, least(new.last_time, fresh - INTERVAL '1 microsecond'));
    END IF;
    IF EXISTS (SELECT FROM stream_events WHERE write_id = new.write_id) THEN
        IF new.first_time < fresh THEN
            WITH late AS (
                UPDATE stream_events
                SET late = true
                WHERE write_id = new.write_id AND kind = 'trade' AND time < fresh AND NOT late
                RETURNING symbol, time
            )
            INSERT INTO stream_late_candles (write_id, symbol, bucket)
            SELECT DISTINCT new.write_id, symbol, time_bucket(INTERVAL '1 minute', time)
            FROM late;
        END IF;
        PERFORM pg_notify('market_data_stream', this::text);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION trades_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this constant bigint := nextval('write_ids');
    first_time timestamptz;
    last_time timestamptz;
BEGIN
    INSERT INTO stale_ranges (write_id, since, until, bulk)
    SELECT this, range_start, range_end - INTERVAL '1 microsecond', true
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades';
    SELECT min(range_start), max(range_end)
    INTO first_time, last_time
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades';
    UPDATE retention SET oldest_chunk = NULL;
    INSERT INTO stream_late_candles (write_id, symbol, bucket, until)
    SELECT this, symbol, coalesce(first_time, time), coalesce(last_time, time + INTERVAL '1 microsecond')
    FROM latest_trades;
    DELETE FROM latest_trades;
    -- number_commit() fills in the number of trades.
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
    VALUES (this, 'truncate', 0, first_time, last_time);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION trades_streamed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this constant bigint := currval('write_ids');
    -- Trades before this time are bulk history: no client follows them one by one.
    bulk_before timestamptz := '-infinity';
    -- An INSERT and an UPDATE of one statement (MERGE, ON CONFLICT) share its write_id.
    numbered constant integer := coalesce((SELECT max(number) FROM stream_events WHERE write_id = this), 0);
BEGIN
    IF current_setting('market_data.stream', true) = 'off' THEN
        bulk_before := 'infinity';
    ELSIF (SELECT count(*) FROM stored WHERE time < now() - INTERVAL '1 hour') > 1000 THEN
        bulk_before := now() - INTERVAL '1 hour';
    END IF;
    IF bulk_before > '-infinity' THEN
        INSERT INTO stream_late_candles (write_id, symbol, bucket, until)
        SELECT this, symbol, min(time), max(time) + INTERVAL '1 microsecond'
        FROM stored
        WHERE time < bulk_before
        GROUP BY symbol;
        UPDATE stale_ranges SET bulk = true WHERE write_id = this;
    END IF;
    INSERT INTO stream_events (write_id, number, kind, symbol, time, trade_id, price, volume)
    SELECT
        write_id, numbered + row_number() OVER (ORDER BY time, symbol, trade_id), 'trade',
        symbol, time, trade_id, price, volume
    FROM stored
    WHERE time >= bulk_before;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION trades_revised() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this constant bigint := currval('write_ids');
    moved boolean;
    number integer;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        moved := (new.symbol, new.time, new.trade_id) IS DISTINCT FROM (old.symbol, old.time, old.trade_id);
        IF NOT moved AND (new.price, new.volume) = (old.price, old.volume) THEN
            RETURN NULL;
        END IF;
    END IF;
    IF current_setting('market_data.stream', true) = 'off' THEN
        INSERT INTO stream_late_candles (write_id, symbol, bucket, until)
        VALUES (this, old.symbol, old.time, old.time + INTERVAL '1 microsecond');
        IF moved THEN
            INSERT INTO stream_late_candles (write_id, symbol, bucket, until)
            VALUES (this, new.symbol, new.time, new.time + INTERVAL '1 microsecond');
        END IF;
        RETURN NULL;
    END IF;
    SELECT coalesce(max(stream_events.number), 0) + 1 INTO number FROM stream_events WHERE write_id = this;
    -- trades_changed() has brought latest_trades up to date before: triggers of an event run in the order of their names.
    INSERT INTO stream_events (
        write_id, number, kind, symbol, time, trade_id, price, volume, change, latest_time, latest_price, latest_volume
    )
    SELECT
        this, number, 'trade', old.symbol, old.time, old.trade_id,
        CASE WHEN moved OR TG_OP = 'DELETE' THEN old.price ELSE new.price END,
        CASE WHEN moved OR TG_OP = 'DELETE' THEN old.volume ELSE new.volume END,
        CASE WHEN moved OR TG_OP = 'DELETE' THEN 'cancelled' ELSE 'corrected' END,
        latest.time, latest.price, latest.volume
    FROM (VALUES (old.symbol)) AS changed (symbol)
    LEFT JOIN latest_trades AS latest USING (symbol);
    IF moved THEN
        INSERT INTO stream_events (write_id, number, kind, symbol, time, trade_id, price, volume)
        VALUES (this, number + 1, 'trade', new.symbol, new.time, new.trade_id, new.price, new.volume);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION advance_stream() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    before timestamptz;
    -- A second after the end of the bucket, for trades that are about to be committed.
    closed constant timestamptz := date_trunc('minute', now() - INTERVAL '1 second');
    this bigint;
BEGIN
    SELECT closed_until INTO before FROM stream_progress;
    IF before BETWEEN closed AND closed + INTERVAL '1 minute' AND NOT EXISTS (SELECT FROM stream_late_candles) THEN
        RETURN;
    END IF;
    SELECT closed_until INTO before FROM stream_progress FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;  -- another process does it
    END IF;
    -- After the clock was set back, closings are published again: until then the candles are open.
    IF before NOT BETWEEN closed AND closed + INTERVAL '1 minute' THEN
        UPDATE stream_progress SET closed_until = closed;
        this := nextval('write_ids');
        -- All symbols that may have a candle in a bucket; the reader finds that some have none. Closings that no process
        -- published in time are published for an hour back, as far as a stream can be resumed.
        INSERT INTO stream_events (write_id, number, kind, symbol, time, "interval")
        SELECT this, row_number() OVER (ORDER BY ends, length, symbol), 'closing', symbol, ends - length, "interval"
        FROM (
            VALUES
                ('1m', INTERVAL '1 minute'), ('5m', INTERVAL '5 minutes'), ('15m', INTERVAL '15 minutes'),
                ('30m', INTERVAL '30 minutes'), ('1h', INTERVAL '1 hour'), ('4h', INTERVAL '4 hours'),
                ('1d', INTERVAL '24 hours'), ('1w', INTERVAL '168 hours')
        ) AS level ("interval", length)
        CROSS JOIN LATERAL (
            SELECT time_bucket(length, closed) - length * n AS ends
            FROM generate_series(0, 60) AS n
        ) AS bucket
        JOIN latest_trades ON latest_trades.time >= ends - length
        WHERE ends > greatest(before, closed - INTERVAL '1 hour');
        INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
        SELECT this, 'close', 0, min(time), max(time)
        FROM stream_events
        WHERE write_id = this
        HAVING count(*) > 0;
    END IF;
    IF EXISTS (SELECT FROM stream_late_candles) THEN
        this := nextval('write_ids');
        -- A candle is refreshed when no range that became stale before it is left, or none of its time: the first for
        -- candles that get late trades all the time. Each is looked up in one multirange: compared with each stale range, a
        -- month of late minutes took half a second of every second of a server.
        WITH refreshed AS (
            DELETE FROM stream_late_candles AS late
            WHERE late.write_id < (SELECT coalesce(min(write_id), 9223372036854775807) FROM stale_ranges)
                OR NOT tstzrange(late.bucket, coalesce(late.until, late.bucket + INTERVAL '1 minute')) && (
                    SELECT coalesce(range_agg(tstzrange(since, until, '[]')), '{}')
                    FROM stale_ranges
                )
            RETURNING symbol, bucket, until
        ), bulk AS (
            -- A range that begins more than a day after all earlier ones is a reload of its own: clients read it again.
            SELECT symbol, bucket, until, bucket > INTERVAL '1 day' + max(until) OVER (
                PARTITION BY symbol ORDER BY bucket ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS is_apart
            FROM refreshed
            WHERE until IS NOT NULL
        ), numbered AS (
            SELECT symbol, bucket, until, count(*) FILTER (WHERE is_apart) OVER (PARTITION BY symbol ORDER BY bucket) AS number
            FROM bulk
        )
        INSERT INTO stream_events (write_id, number, kind, symbol, time, until)
        SELECT this, row_number() OVER (ORDER BY kind, bucket, symbol), kind, symbol, bucket, until
        FROM (
            SELECT DISTINCT 'revision' AS kind, symbol, bucket, NULL::timestamptz AS until FROM refreshed WHERE until IS NULL
            UNION ALL
            SELECT 'reload', symbol, min(bucket), max(until) FROM numbered GROUP BY symbol, number
        ) AS event;
        INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
        SELECT this, 'revise', 0, min(time), max(time)
        FROM stream_events
        WHERE write_id = this
        HAVING count(*) > 0;
    END IF;
END
$$;

DROP FUNCTION stream_is_late(timestamptz, timestamptz);

DROP TRIGGER trades_streamed ON trades;
CREATE TRIGGER trades_streamed
AFTER INSERT ON trades
REFERENCING NEW TABLE AS stored
FOR EACH STATEMENT EXECUTE FUNCTION trades_streamed();

COMMENT ON FUNCTION trades_streamed() IS
    'After INSERT and COPY: copies the trades to stream_events, or records their range if market_data.stream is off or more than '
    '1,000 of them are older than an hour.';

-- Row by row, for the same reason as trades_changed.
DROP TRIGGER trades_revised ON trades;
CREATE TRIGGER trades_revised
AFTER UPDATE OR DELETE ON trades
FOR EACH ROW EXECUTE FUNCTION trades_revised();

COMMENT ON FUNCTION trades_revised() IS
    'After UPDATE and DELETE, for each trade: writes the change to stream_events, or records its time if market_data.stream is off.';

CREATE OR REPLACE PROCEDURE trim_stream(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    trimmed bigint;
    kept bigint;
BEGIN
    SELECT trimmed_before INTO trimmed FROM public.stream_progress;
    -- Times follow the versions, so the scan ends at the first commit of the last hour.
    SELECT version INTO kept
    FROM public.commits
    WHERE version >= trimmed AND committed_at >= now() - INTERVAL '1 hour'
    ORDER BY version
    LIMIT 1;
    -- The last commit with events that is older than an hour stays: a client that has its id has missed nothing.
    SELECT version INTO kept
    FROM public.commits
    WHERE version >= trimmed AND version < coalesce(kept, 9223372036854775807)
        AND EXISTS (SELECT FROM public.stream_events WHERE stream_events.write_id = commits.write_id)
    ORDER BY version DESC
    LIMIT 1;
    IF kept > trimmed THEN
        DELETE FROM public.stream_events
        WHERE write_id IN (SELECT write_id FROM public.commits WHERE version >= trimmed AND version < kept)
            -- A statement that stored and changed trades has two versions.
            AND write_id <> (SELECT write_id FROM public.commits WHERE version = kept);
        UPDATE public.stream_progress SET trimmed_before = kept;
    END IF;
END
$$;
