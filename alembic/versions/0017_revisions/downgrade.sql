-- Frozen: part of revision 0017, never edited.

DROP TRIGGER trades_reloaded ON trades;
DROP FUNCTION candles_as_of_close(text, interval, bigint, text, timestamptz, timestamptz);
DROP FUNCTION revised_buckets(text, text, timestamptz, timestamptz);
DROP FUNCTION candle_revisions(text, text, bigint, bigint, timestamptz, timestamptz, timestamptz, bigint);
DROP FUNCTION touched_times(bigint, text, timestamptz, timestamptz);
DROP FUNCTION version_until(timestamptz);
DROP FUNCTION trades_reloaded();
CREATE OR REPLACE FUNCTION candles_as_of(
    "interval" text, version bigint, symbol text,
    since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity'
)
RETURNS TABLE (
    bucket timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, turnover numeric,
    trade_count bigint, write_id bigint
)
LANGUAGE plpgsql STABLE
AS $$
#variable_conflict use_column
DECLARE
    names constant text[] := '{1m,5m,15m,30m,1h,4h,1d,1w}';
    -- Hours instead of days: the session's time zone can't make them longer or shorter.
    lengths constant interval[] := '{1 minute,5 minutes,15 minutes,30 minutes,1 hour,4 hours,24 hours,168 hours}';
    level constant integer := array_position(names, "interval");
    width constant interval := lengths[level];
    writes record;
    changed tstzmultirange;
    complete bigint;
    area tstzmultirange;
    outdated tstzmultirange;
    unknown tstzmultirange;
    changed_since tstzmultirange;
    part tstzrange;
    pieces public.candles_1m[] := '{}';
    more public.candles_1m[];
BEGIN
    IF level IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('interval must be one of %s, not %L', array_to_string(names, ', '), "interval");
    END IF;
    SELECT * INTO writes FROM public.writes_as_of(candles_as_of.version, 'infinity');
    -- The candles of trades that were all committed by then: their greatest write_id is below those of later commits.
    complete := least(writes.newest, (SELECT min(l) - 1 FROM unnest(writes.late) AS l));
    -- The starts of buckets, the last of which had a trade at most.
    IF since > '-infinity' THEN
        since := public.time_bucket(width, since - INTERVAL '1 microsecond') + width;
    END IF;
    until := least(until, writes.newest_time + INTERVAL '1 microsecond');
    IF since >= until THEN
        RETURN;
    END IF;
    SELECT coalesce(range_agg(tstzrange(c.time, c.time, '[]')), '{}')
    INTO changed
    FROM public.trade_changes AS c
    WHERE c.symbol = candles_as_of.symbol AND c.time >= since AND c.time < until + width
        AND (c.write_id > writes.newest OR c.write_id = ANY (writes.late));
    -- The buckets whose candles have changed since, from coarse to fine: of a week, only the changed minutes are read from
    -- trades.
    FOR step IN REVERSE level .. 1 LOOP
        SELECT coalesce(range_agg(tstzrange(
            public.time_bucket(lengths[step], lower(r)),
            public.time_bucket(lengths[step], upper(r) - INTERVAL '1 microsecond') + lengths[step]
        )), '{}')
        INTO outdated
        FROM unnest((changed + public.stale_times(step)) * tstzmultirange(tstzrange(since, until + width))) AS r;
        IF step = level THEN
            -- Only buckets that start in the range.
            outdated := outdated * tstzmultirange(tstzrange(
                since, public.time_bucket(width, until - INTERVAL '1 microsecond') + width
            ));
            EXECUTE format($sql$
                SELECT $1 + coalesce(range_agg(tstzrange(bucket, bucket + $2)), '{}')
                FROM public.candles_%s
                WHERE symbol = $3 AND bucket >= $4 AND bucket < $5 AND write_id > $6
            $sql$, names[step])
            INTO area
            USING outdated, width, symbol, since, until, complete;
            RETURN QUERY EXECUTE format($sql$
                SELECT bucket, open, high, low, close, volume, turnover, trade_count, write_id
                FROM public.candles_%s
                WHERE symbol = $1 AND bucket >= $2 AND bucket < $3 AND NOT bucket <@ $4
            $sql$, names[step])
            USING symbol, since, until, area;
        ELSE
            unknown := area * outdated;
            FOR part IN SELECT public.few_ranges(area) LOOP
                -- IS TRUE, because TimescaleDB 2.29.2 fails to plan a bare comparison of its time column with a multirange.
                EXECUTE format($sql$
                    SELECT
                        coalesce(array_agg(piece) FILTER (WHERE whole), '{}'),
                        coalesce(range_agg(tstzrange(bucket, bucket + $1)) FILTER (WHERE NOT whole), '{}')
                    FROM (
                        SELECT
                            bucket,
                            write_id <= $2 AND NOT bucket <@ $3 AS whole,
                            ROW(
                                symbol, bucket, open, high, low, close, volume, turnover, trade_count, write_id
                            )::public.candles_1m AS piece
                        FROM public.candles_%s
                        WHERE symbol = $4 AND bucket >= $5 AND bucket < $6 AND (bucket <@ $7) IS TRUE
                    ) AS finer
                $sql$, names[step])
                INTO more, changed_since
                USING lengths[step], complete, outdated, symbol, lower(part), upper(part), area;
                pieces := pieces || more;
                unknown := unknown + changed_since;
            END LOOP;
            area := unknown;
        END IF;
        -- Of a bucket that had not ended, the rest had no trade.
        area := area * tstzmultirange(tstzrange(NULL, writes.newest_time + INTERVAL '1 microsecond'));
        EXIT WHEN isempty(area);
    END LOOP;
    IF NOT isempty(area) THEN
        PERFORM public.writes_as_of(candles_as_of.version, lower(area));  -- raises an error if trades have been dropped
        FOR part IN SELECT public.few_ranges(area) LOOP
            SELECT pieces || coalesce(array_agg(minute), '{}')
            INTO pieces
            FROM (
                SELECT ROW(
                    candles_as_of.symbol, public.time_bucket(INTERVAL '1 minute', t.time),
                    public.first(t.price, t.time ORDER BY t.trade_id), max(t.price), min(t.price),
                    public.last(t.price, t.time ORDER BY t.trade_id DESC),
                    sum(t.volume), sum(t.price * t.volume), count(*), max(t.write_id)
                )::public.candles_1m AS minute
                FROM public.past_trades(writes.newest, writes.late, lower(part), upper(part)) AS t
                WHERE t.symbol = candles_as_of.symbol AND (t.time <@ area) IS TRUE
                GROUP BY public.time_bucket(INTERVAL '1 minute', t.time)
            ) AS found;
        END LOOP;
    END IF;
    RETURN QUERY
    SELECT
        public.time_bucket(width, p.bucket), public.first(p.open, p.bucket), max(p.high), min(p.low),
        public.last(p.close, p.bucket), sum(p.volume), sum(p.turnover), sum(p.trade_count)::bigint, max(p.write_id)
    FROM unnest(pieces) AS p
    GROUP BY public.time_bucket(width, p.bucket);
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
    -- One row for each symbol: a row for each trade could take hours.
    INSERT INTO trade_changes (
        action, symbol, time, trade_id, price_before, volume_before, actor, reason, write_id, write_id_before, database_role
    )
    SELECT
        'truncate', symbol, time, trade_id, price, volume,
        coalesce(nullif(current_setting('market_data.actor', true), ''), session_user),
        nullif(current_setting('market_data.reason', true), ''),
        this, 0, session_user
    FROM latest_trades;
    DELETE FROM latest_trades;
    -- number_commit() fills in the number of trades.
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
    VALUES (this, 'truncate', 0, first_time, last_time);
    RETURN NULL;
END
$$;

CREATE OR REPLACE PROCEDURE drop_old_trades(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    bound timestamptz;
    dropped bigint;
BEGIN
    IF (SELECT drop_after FROM public.retention) IS NULL THEN
        RETURN;
    END IF;
    -- A concurrent transaction that stores a trade has recorded it in stale_ranges before this lock, or is rejected after it.
    -- Shorter than the time-out of requests, which wait behind these locks while another session keeps this one waiting.
    SET LOCAL lock_timeout = '2s';
    LOCK TABLE public.trades IN SHARE ROW EXCLUSIVE MODE;
    SELECT max(range_end)
    INTO bound
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades' AND range_end <= least(
        (SELECT now() - drop_after FROM public.retention),
        coalesce(public.candles_watermark('1m'), '-infinity'),
        (SELECT min(since) FROM public.stale_ranges)
    );
    IF bound IS NOT NULL THEN
        SELECT count(*) INTO dropped FROM public.trades WHERE time < bound;
        PERFORM public.drop_chunks('public.trades', older_than => bound);
        UPDATE public.retention
        SET dropped_before = greatest(dropped_before, bound), oldest_chunk = (
            SELECT min(range_start)
            FROM timescaledb_information.chunks
            WHERE hypertable_schema = 'public' AND hypertable_name = 'trades'
        );
        -- No version: dropped trades are not cancelled, and their candles stay.
        PERFORM public.update_data_version(NULL, -dropped);
    END IF;
END
$$;

DROP FUNCTION past_candles(text, bigint, bigint, bigint[], timestamptz, text, timestamptz, timestamptz);
DROP TABLE reloads, pins;
DROP INDEX commits_late;
