-- Present text of the functions and views of streams.

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
    -- More than 1,000, which are not counted to the end.
    ELSIF EXISTS (SELECT FROM stored WHERE time < now() - INTERVAL '1 hour' OFFSET 1000) THEN
        bulk_before := now() - INTERVAL '1 hour';
    END IF;
    IF bulk_before > '-infinity' THEN
        WITH bulk AS (
            SELECT symbol, min(time) AS since, max(time) + INTERVAL '1 microsecond' AS until
            FROM stored
            WHERE time < bulk_before
            GROUP BY symbol
        ), late AS (
            INSERT INTO stream_late_candles (write_id, symbol, bucket, until)
            SELECT this, symbol, since, until FROM bulk
        )
        INSERT INTO reloads AS known (write_id, symbol, since, until)
        SELECT this, symbol, since, until FROM bulk
        ON CONFLICT (write_id, symbol) DO UPDATE
        SET since = least(known.since, excluded.since), until = greatest(known.until, excluded.until);
        UPDATE stale_ranges SET bulk = true WHERE write_id = this;
    END IF;
    IF bulk_before < 'infinity' THEN
        INSERT INTO stream_events (write_id, number, kind, symbol, time, trade_id, price, volume)
        SELECT
            write_id, numbered + row_number() OVER (ORDER BY time, symbol, trade_id), 'trade',
            symbol, time, trade_id, price, volume
        FROM stored
        WHERE time >= bulk_before;
    END IF;
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

CREATE OR REPLACE FUNCTION close_sessions(this bigint, after timestamptz, closed timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    -- Times at which a bucket of a session may have ended, and the earliest start of such a bucket. The reader looks up
    -- which buckets these are. Other closings tell the ends of minutes.
    WITH ended AS (
        SELECT calendar, ends, min(ends - length) AS since
        FROM calendar_sessions AS session
        CROSS JOIN generate_series(after + INTERVAL '1 minute', closed, INTERVAL '1 minute') AS ends
        CROSS JOIN LATERAL (
            SELECT length
            FROM (
                VALUES
                    (INTERVAL '5 minutes'), (INTERVAL '15 minutes'), (INTERVAL '30 minutes'), (INTERVAL '1 hour'),
                    (INTERVAL '4 hours')
            ) AS level (length)
            CROSS JOIN (VALUES (pre_opens_at), (opens_at), (break_ends_at), (closes_at)) AS anchor (time)
            WHERE ends > anchor.time AND date_bin(length, ends, anchor.time) = ends
            UNION ALL
            -- Of a part, and so perhaps of a day and of a week.
            SELECT INTERVAL '7 days'
            WHERE ends IN (
                opens_at, closes_at, auction_ends_at, post_closes_at,
                least(break_starts_at + (auction_ends_at - closes_at), break_ends_at)
            )
        ) AS bucket
        WHERE ended_write_id IS NULL
            AND day BETWEEN (after - INTERVAL '3 days')::date AND (closed + INTERVAL '3 days')::date
            AND ends > pre_opens_at AND ends <= greatest(post_closes_at, auction_ends_at)
        GROUP BY calendar, ends
    )
    INSERT INTO stream_events (write_id, number, kind, symbol, time, "interval")
    SELECT
        this, (SELECT count(*) FROM stream_events WHERE write_id = this) + row_number() OVER (ORDER BY ends, symbol),
        'closing', symbol, ends - INTERVAL '1 minute', 'session'
    FROM ended
    JOIN symbol_calendars AS assigned ON assigned.calendar = ended.calendar AND assigned.ended_write_id IS NULL
    JOIN latest_trades AS latest USING (symbol)
    WHERE latest.time >= since
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
        PERFORM close_sessions(this, greatest(before, closed - INTERVAL '1 hour'), closed);
        INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
        SELECT
            this, 'close', 0, min(time) FILTER (WHERE "interval" <> 'session'),
            max(time) FILTER (WHERE "interval" <> 'session')
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
