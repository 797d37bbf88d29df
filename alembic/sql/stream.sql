-- Present text of the functions and views of streams.

CREATE OR REPLACE FUNCTION stream_is_late("time" timestamptz, stored_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE
-- A minute is materialized a minute after its end; less the time that a commit may take.
RETURN date_bin(INTERVAL '1 minute', "time", '2000-01-01 00:00:00Z') <= stored_at - INTERVAL '90 seconds';

CREATE OR REPLACE FUNCTION trades_streamed() RETURNS trigger
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

CREATE OR REPLACE FUNCTION trades_revised() RETURNS trigger
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
        WHERE write_id IN (SELECT write_id FROM public.commits WHERE version >= trimmed AND version < kept);
        UPDATE public.stream_progress SET trimmed_before = kept;
    END IF;
END
$$;
