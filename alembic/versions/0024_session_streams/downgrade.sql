-- Frozen: part of revision 0024, never edited.

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
        -- A replay takes the reloads of ranges that end by then: another range may begin before and still wait.
        SELECT this, 'revise', 0, min(time), max(coalesce(until - INTERVAL '1 microsecond', time))
        FROM stream_events
        WHERE write_id = this
        HAVING count(*) > 0;
    END IF;
END
$$;

DROP FUNCTION close_sessions(bigint, timestamptz, timestamptz);
DELETE FROM stream_events WHERE "interval" = 'session';

COMMENT ON COLUMN stream_events."interval" IS 'Of a closing: interval of the candle.';
