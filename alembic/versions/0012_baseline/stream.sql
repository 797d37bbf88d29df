-- Frozen: part of revision 0012, never edited. The present text of functions and views is in alembic/sql/.
-- Events of the streams: each stored trade and each change of a closed candle, in the order of commits.
-- Triggers write them, so trades stored by any process, or in psql, are streamed.

CREATE TABLE stream_events (
    write_id bigint NOT NULL,
    number integer NOT NULL,
    kind text NOT NULL,
    symbol text NOT NULL,
    time timestamptz NOT NULL,
    trade_id bigint,
    price numeric,
    volume numeric,
    "interval" text,
    CONSTRAINT stream_events_pkey PRIMARY KEY (write_id, number),
    CONSTRAINT stream_events_kind_known CHECK (kind IN ('trade', 'closing', 'revision'))
);

COMMENT ON TABLE stream_events IS
    'Events of the streams, kept for an hour: each trade stored, unless market_data.stream is off, and each candle that '
    'closed or changed afterwards. Ordered by the version in commits, then by number.';
COMMENT ON COLUMN stream_events.write_id IS 'Statement that wrote the event; commits has its version.';
COMMENT ON COLUMN stream_events.number IS 'From 1 within the statement.';
COMMENT ON COLUMN stream_events.kind IS
    'trade: was stored; closing: the candle of symbol and interval closed; revision: candles of all intervals changed, and are '
    'refreshed.';
COMMENT ON COLUMN stream_events.symbol IS 'Traded symbol.';
COMMENT ON COLUMN stream_events.time IS 'Time of the trade; of a candle, start of its bucket.';
COMMENT ON COLUMN stream_events.trade_id IS 'Of a trade: id within its symbol and time.';
COMMENT ON COLUMN stream_events.price IS 'Of a trade: price of one unit, exact.';
COMMENT ON COLUMN stream_events.volume IS 'Of a trade: units traded, exact.';
COMMENT ON COLUMN stream_events."interval" IS 'Of a closing: interval of the candle.';

CREATE TABLE stream_late_candles (
    id bigint GENERATED ALWAYS AS IDENTITY,
    symbol text NOT NULL,
    bucket timestamptz NOT NULL,
    CONSTRAINT stream_late_candles_pkey PRIMARY KEY (id)
);

COMMENT ON TABLE stream_late_candles IS
    'Candles of one minute that got a trade when they may have been materialized: published as revisions once refreshed.';
COMMENT ON COLUMN stream_late_candles.id IS 'Id, in the order of arrival.';
COMMENT ON SEQUENCE stream_late_candles_id_seq IS 'Ids of stream_late_candles.';
COMMENT ON COLUMN stream_late_candles.symbol IS 'Traded symbol.';
COMMENT ON COLUMN stream_late_candles.bucket IS 'Start of the minute.';

CREATE TABLE stream_progress (
    closed_until timestamptz NOT NULL,
    trimmed_before bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX stream_progress_one_row ON stream_progress ((true));
INSERT INTO stream_progress (closed_until) VALUES (date_trunc('minute', now()));

COMMENT ON TABLE stream_progress IS 'Progress of advance_stream() and trim_stream(), in one row.';
COMMENT ON COLUMN stream_progress.closed_until IS 'Whole minute up to which closed buckets have been published.';
COMMENT ON COLUMN stream_progress.trimmed_before IS 'Events of versions below this one have been deleted; 0 if none has been.';

CREATE FUNCTION stream_is_late("time" timestamptz, stored_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE
-- A minute is materialized a minute after its end; less the time that a commit may take.
RETURN date_bin(INTERVAL '1 minute', "time", '2000-01-01 00:00:00Z') <= stored_at - INTERVAL '90 seconds';

COMMENT ON FUNCTION stream_is_late(timestamptz, timestamptz) IS
    'True if the minute of a trade may have been materialized before the trade was stored: its candle does not contain it yet.';

CREATE FUNCTION trades_streamed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO stream_events (write_id, number, kind, symbol, time, trade_id, price, volume)
    SELECT write_id, row_number() OVER (ORDER BY time, symbol, trade_id), 'trade', symbol, time, trade_id, price, volume
    FROM stored;
    RETURN NULL;
END
$$;

CREATE TRIGGER trades_streamed
AFTER INSERT ON trades
REFERENCING NEW TABLE AS stored
FOR EACH STATEMENT WHEN (current_setting('market_data.stream', true) IS DISTINCT FROM 'off')
EXECUTE FUNCTION trades_streamed();

COMMENT ON FUNCTION trades_streamed() IS 'After INSERT and COPY: copies the trades to stream_events.';

CREATE FUNCTION trades_revised() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO stream_late_candles (symbol, bucket)
    VALUES (old.symbol, time_bucket(INTERVAL '1 minute', old.time));
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO stream_late_candles (symbol, bucket)
        VALUES (new.symbol, time_bucket(INTERVAL '1 minute', new.time));
    END IF;
    RETURN NULL;
END
$$;

-- Row by row, for the same reason as trades_changed.
CREATE TRIGGER trades_revised
AFTER UPDATE OR DELETE ON trades
FOR EACH ROW WHEN (current_setting('market_data.stream', true) IS DISTINCT FROM 'off')
EXECUTE FUNCTION trades_revised();

COMMENT ON FUNCTION trades_revised() IS 'After UPDATE and DELETE: records the candle, whose revision will be published.';

CREATE FUNCTION advance_stream() RETURNS void
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
        -- Each candle is looked up in one multirange: compared with each stale range, a month of late minutes took half a
        -- second of every second of a server, and blocked the embedded engine until they were refreshed.
        WITH settled AS (
            DELETE FROM stream_late_candles AS late
            WHERE NOT tstzrange(late.bucket, late.bucket + INTERVAL '1 minute') && (
                SELECT coalesce(range_agg(tstzrange(since, until, '[]')), '{}')
                FROM stale_ranges
            )
            RETURNING symbol, bucket
        )
        INSERT INTO stream_events (write_id, number, kind, symbol, time)
        SELECT this, row_number() OVER (ORDER BY bucket, symbol), 'revision', symbol, bucket
        FROM (SELECT DISTINCT symbol, bucket FROM settled) AS candle;
        INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
        SELECT this, 'revise', 0, min(time), max(time)
        FROM stream_events
        WHERE write_id = this
        HAVING count(*) > 0;
    END IF;
END
$$;

COMMENT ON FUNCTION advance_stream() IS
    'Writes candles that have closed, and late ones that have been refreshed, to stream_events. The service calls it every '
    'second.';

CREATE PROCEDURE trim_stream(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
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
        WHERE write_id IN (SELECT write_id FROM public.commits WHERE version >= trimmed AND version < kept);
        UPDATE public.stream_progress SET trimmed_before = kept;
    END IF;
END
$$;

SELECT add_job('trim_stream', schedule_interval => INTERVAL '5 minutes');

COMMENT ON PROCEDURE trim_stream(integer, jsonb) IS
    'Deletes events older than an hour. A job runs it every 5 minutes.';

REVOKE EXECUTE ON FUNCTION trades_streamed(), trades_revised(), advance_stream() FROM PUBLIC;
REVOKE EXECUTE ON PROCEDURE trim_stream(integer, jsonb) FROM PUBLIC;
