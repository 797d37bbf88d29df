-- Frozen: part of revision 0013, never edited. The present text of functions and views is in alembic/sql/.
-- Stale ranges: which trades leave one, and the order in which they are refreshed.

-- First take the lock of the job, which must not run meanwhile, then the tables in the order of writers: no deadlock.
SELECT pg_advisory_xact_lock(7164051127);
LOCK TABLE trades, pending_commits, stale_ranges, stream_events, stream_late_candles IN ACCESS EXCLUSIVE MODE;

-- A sequence, because a transaction of isolation level REPEATABLE READ must see the newest value when it commits.
CREATE SEQUENCE refreshed_until;
COMMENT ON SEQUENCE refreshed_until IS
    'Time up to which refresh_candles() has begun to materialize candles, in microseconds since 1970.';
GRANT SELECT ON SEQUENCE refreshed_until TO PUBLIC;

SELECT setval('refreshed_until', (extract(epoch FROM greatest(max(candles_watermark("interval")), 'epoch')) * 1000000)::bigint + 1)
FROM unnest(ARRAY['1m', '5m', '15m', '30m', '1h', '4h', '1d', '1w']) AS "interval";

ALTER TABLE stale_ranges
    ADD COLUMN write_id bigint NOT NULL DEFAULT 0,
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN bulk boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT stale_ranges_in_order CHECK (since <= until);
ALTER TABLE stale_ranges ALTER COLUMN write_id DROP DEFAULT;

COMMENT ON COLUMN stale_ranges.write_id IS
    'Statement that made the range stale, the first if several were merged. Ranges are refreshed in this order.';
COMMENT ON COLUMN stale_ranges.bulk IS 'True if only bulk history made it stale, which takes turns with other ranges.';
COMMENT ON COLUMN stale_ranges.created_at IS 'Time at which the range became stale, the earliest if several were merged.';

ALTER TABLE pending_commits ADD COLUMN first_fresh timestamptz;

COMMENT ON COLUMN pending_commits.first_fresh IS
    'Smallest time of the trades that were newer than all materialized candles, for which there is no stale range yet.';

CREATE OR REPLACE FUNCTION fresh_since() RETURNS timestamptz
LANGUAGE sql VOLATILE
AS $$
    -- refreshed_until follows the clock within seconds, unless the job does not run; policies of coarser levels may run meanwhile.
    SELECT greatest(
        to_timestamp(0) + last_value * INTERVAL '1 microsecond',
        date_bin(INTERVAL '1 minute', clock_timestamp() - INTERVAL '1 minute', '2000-01-01 00:00:00Z')
    )
    FROM public.refreshed_until
$$;

COMMENT ON FUNCTION fresh_since() IS
    'Trades from this time on are newer than every candle that is materialized or is about to be.';

CREATE OR REPLACE FUNCTION trades_stored() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this constant bigint := currval('write_ids');
    number bigint;
    oldest timestamptz;
    newest timestamptz;
    lowest bigint;
    highest bigint;
    horizon timestamptz;
    fresh constant timestamptz := fresh_since();
    first_fresh timestamptz;
BEGIN
    SELECT count(*), min(time), max(time), min(write_id), max(write_id), min(time) FILTER (WHERE time >= fresh)
    INTO number, oldest, newest, lowest, highest, first_fresh
    FROM stored;
    IF number = 0 THEN
        RETURN NULL;
    END IF;
    IF lowest <> this OR highest <> this THEN
        RAISE generated_always USING
            MESSAGE = 'trades.write_id is set by the database: leave it out',
            TABLE = 'trades', COLUMN = 'write_id';
    END IF;
    IF oldest < now() - INTERVAL '1 day' THEN
        horizon := retention_horizon();
        IF oldest < horizon THEN
            RAISE check_violation USING
                MESSAGE = format('a trade at %s is older than the retention horizon, %s', oldest, horizon),
                DETAIL = 'The other trades of its candle have been dropped.',
                TABLE = 'trades', CONSTRAINT = 'trades_within_retention';
        END IF;
    END IF;
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time, first_fresh)
    VALUES (this, 'store', number, oldest, newest, first_fresh);
    IF oldest < fresh THEN
        INSERT INTO stale_ranges (write_id, since, until)
        SELECT this, min(time), max(time)
        FROM stored
        WHERE time < fresh
        GROUP BY time_bucket(INTERVAL '1 hour', time);
    END IF;
    -- Writers that store trades share the rows of their symbols, and trades_changed() locks them exclusively: each sees
    -- the other's trades before it looks for the latest one. The rows of latest_trades can't be locked for that, because they
    -- are deleted and inserted again. In the order of the symbols, so that no two writers wait for each other; in a statement
    -- of its own, so that the next statement sees what was committed meanwhile.
    PERFORM 1 FROM symbols WHERE symbol IN (SELECT symbol FROM stored) ORDER BY symbol FOR KEY SHARE;
    -- Only symbols with a later trade are written, in their order: writers seldom wait for each other, and never in a circle.
    INSERT INTO latest_trades AS known (symbol, time, trade_id, price, volume)
    SELECT latest.symbol, latest.time, latest.trade_id, latest.price, latest.volume
    FROM (
        SELECT DISTINCT ON (symbol) symbol, time, trade_id, price, volume
        FROM stored
        ORDER BY symbol, time DESC, trade_id DESC
    ) AS latest
    LEFT JOIN latest_trades AS before USING (symbol)
    WHERE before.symbol IS NULL OR (latest.time, latest.trade_id) > (before.time, before.trade_id)
    ORDER BY latest.symbol
    ON CONFLICT (symbol) DO UPDATE
    SET time = excluded.time, trade_id = excluded.trade_id, price = excluded.price, volume = excluded.volume
    WHERE (excluded.time, excluded.trade_id) > (known.time, known.trade_id);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION trades_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- As in trades_stored().
    PERFORM 1 FROM symbols WHERE symbol IN (old.symbol, new.symbol) ORDER BY symbol FOR UPDATE;
    DELETE FROM latest_trades
    WHERE symbol = old.symbol AND time = old.time AND trade_id = old.trade_id;
    IF FOUND THEN
        INSERT INTO latest_trades (symbol, time, trade_id, price, volume)
        SELECT symbol, time, trade_id, price, volume
        FROM trades
        WHERE symbol = old.symbol
        ORDER BY time DESC, trade_id DESC
        LIMIT 1;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO latest_trades AS known (symbol, time, trade_id, price, volume)
        VALUES (new.symbol, new.time, new.trade_id, new.price, new.volume)
        ON CONFLICT (symbol) DO UPDATE
        SET time = excluded.time, trade_id = excluded.trade_id, price = excluded.price, volume = excluded.volume
        WHERE (excluded.time, excluded.trade_id) >= (known.time, known.trade_id);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION trades_recorded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this constant bigint := currval('write_ids');
    fresh constant timestamptz := fresh_since();
    number bigint;
    times timestamptz[];
BEGIN
    -- The trades of the statement from the audit trail, because there is no transition table. An UPDATE and a DELETE of one
    -- statement (MERGE) share its write_id.
    SELECT count(*), array_agg(time) || array_agg(moved_to) FILTER (WHERE moved_to IS NOT NULL)
    INTO number, times
    FROM trade_changes
    WHERE write_id = this AND (TG_OP = 'UPDATE') = (action = 'correct' OR moved_to IS NOT NULL);
    IF number = 0 THEN
        RETURN NULL;
    END IF;
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time, first_fresh)
    SELECT
        this, CASE TG_OP WHEN 'UPDATE' THEN 'correct' ELSE 'cancel' END, number, min(time), max(time),
        min(time) FILTER (WHERE time >= fresh)
    FROM unnest(times) AS time;
    INSERT INTO stale_ranges (write_id, since, until)
    SELECT this, min(time), max(time)
    FROM unnest(times) AS time
    WHERE time < fresh
    GROUP BY time_bucket(INTERVAL '1 hour', time);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION trades_changed() IS 'After UPDATE and DELETE, for each trade: finds the latest trade again.';
COMMENT ON FUNCTION trades_recorded() IS
    'After UPDATE and DELETE: records the stale ranges and the commit, unless the statement has changed no trade.';

CREATE TABLE candle_refresh (
    pid integer,
    backend_start timestamptz,
    active_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX candle_refresh_one_row ON candle_refresh ((true));
INSERT INTO candle_refresh DEFAULT VALUES;

COMMENT ON TABLE candle_refresh IS 'Lease on refresh_candles(), which one session at a time runs, in one row.';
COMMENT ON COLUMN candle_refresh.pid IS 'Process of the session that runs it, null if none does. Of no effect once that has ended.';
COMMENT ON COLUMN candle_refresh.backend_start IS 'Start of that session, because process ids are used again.';
COMMENT ON COLUMN candle_refresh.active_at IS 'Time of the last progress of a run.';

CREATE OR REPLACE FUNCTION is_held(lease candle_refresh) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_stat_activity AS holder
        WHERE holder.pid = lease.pid AND CASE
            -- This role may not see more of the session.
            WHEN holder.backend_start IS NULL THEN lease.active_at > clock_timestamp() - INTERVAL '10 minutes'
            -- An idle session has been interrupted.
            ELSE holder.backend_start = lease.backend_start AND coalesce(holder.state, '') NOT LIKE 'idle%'
        END
    )
$$;

COMMENT ON FUNCTION is_held(candle_refresh) IS 'True if the session that took the lease still refreshes candles.';

REVOKE EXECUTE ON FUNCTION is_held(candle_refresh) FROM PUBLIC;

CREATE OR REPLACE FUNCTION lease_candle_refresh() RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- Not an advisory lock, which any role could take. The embedded engine doesn't list its session.
    UPDATE candle_refresh AS lease
    SET pid = pg_backend_pid(),
        backend_start = (SELECT me.backend_start FROM pg_stat_activity AS me WHERE me.pid = pg_backend_pid()),
        active_at = clock_timestamp()
    WHERE lease.pid = pg_backend_pid() OR NOT is_held(lease);
    RETURN FOUND;
END
$$;

COMMENT ON FUNCTION lease_candle_refresh() IS 'Takes the lease on refresh_candles() for this session; false if another one runs it.';

REVOKE EXECUTE ON FUNCTION lease_candle_refresh() FROM PUBLIC;

CREATE OR REPLACE PROCEDURE refresh_candles(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
LANGUAGE plpgsql
-- No SET search_path, which would forbid transaction control in the procedure.
AS $$
-- First the minutes that have closed, then the stale ranges: those that came first, level by level, because a level is read
-- through the finer ones, which would be computed from trades again and again while they are not materialized. A range moves
-- to the next level in the transaction that ends its refresh, so the next run continues after an interrupted one.
--
-- The upper bound of the minutes is set behind the lock of commits: a trade that is committed before is seen by the refresh,
-- one that is committed later finds the bound and leaves a stale range.
--
-- force => true, because the invalidation log of TimescaleDB is not enough: a refresh that fails halfway, for example because
-- of the columnstore policy, has used it up, and COPY into trades logs nothing (2.29.2).
--
-- buckets_per_batch 0: cut into batches, the first refresh of a table whose only trades are newer than the window took 3 s on
-- a server and 31 s on the embedded engine, against 14 ms.
--
-- enable_seqscan off: the filter of a sequential scan evaluates the watermark for each trade, an index scan once. The 5-minute
-- candles of 270,000 trades take 0.8 s instead of 13.
--
-- Loops over arrays, and a COMMIT after each refresh: inside the loop of a query, or without the COMMIT, TimescaleDB 2.23
-- doesn't see what the previous refresh has stored.
DECLARE
    intervals constant text[] := ARRAY['1m', '5m', '15m', '30m', '1h', '4h', '1d', '1w'];
    buckets constant interval[] := ARRAY[
        '1 minute', '5 minutes', '15 minutes', '30 minutes', '1 hour', '4 hours', '1 day', '7 days'
    ];
    max_buckets constant integer := coalesce((config->>'buckets')::integer, 10080);
    -- A run ends when it is beyond its budget, because the embedded engine does nothing else meanwhile.
    deadline constant timestamptz := clock_timestamp() + (config->>'budget')::interval;
    seqscan constant text := current_setting('enable_seqscan');
    chunks_dropped boolean;
    step integer;
    bucket interval;
    origin timestamptz;
    closed_minutes timestamptz;
    closed timestamptz;
    watermark timestamptz;
    live_first boolean := true;
    seen bigint[];
    first_write bigint;
    created timestamptz;
    only_bulk boolean;
    stale tstzmultirange;
    gap tstzrange;
    from_time timestamptz;
    to_time timestamptz;
BEGIN
    -- One run at a time, because two refreshes of one range fail: a run with a budget gives way, one without waits.
    WHILE NOT public.lease_candle_refresh() LOOP
        COMMIT;
        IF config->>'budget' IS NOT NULL THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.1);
    END LOOP;
    COMMIT;  -- so that nobody waits for the row of the lease
    PERFORM set_config('enable_seqscan', 'off', false);
    -- Not before the oldest trade that is left: candles keep the trades that were dropped, by retention or by hand.
    SELECT min(c.range_start)
    INTO origin
    FROM timescaledb_information.chunks AS c
    WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'trades';
    SELECT coalesce(origin > r.oldest_chunk, r.oldest_chunk IS NOT NULL) INTO chunks_dropped FROM public.retention AS r;
    IF chunks_dropped THEN
        PERFORM public.recount_trades();
    END IF;
    UPDATE public.retention AS r
    SET oldest_chunk = origin,
        dropped_before = greatest(r.dropped_before, CASE WHEN origin > r.oldest_chunk THEN origin END)
    WHERE r.oldest_chunk IS DISTINCT FROM origin;
    SELECT greatest(origin, r.dropped_before) INTO origin FROM public.retention AS r;
    COMMIT;
    SELECT max(public.candles_watermark(i)) INTO watermark FROM unnest(intervals) AS i;
    LOCK TABLE public.stream_commit_lock IN EXCLUSIVE MODE;
    -- Candles up to the watermark are materialized, even if the clock was set back and they are open again.
    closed_minutes := greatest(
        public.time_bucket(buckets[1], clock_timestamp() - buckets[1]), public.candles_watermark(intervals[1])
    );
    SELECT to_timestamp(0) + r.last_value * INTERVAL '1 microsecond' INTO from_time FROM public.refreshed_until AS r;
    -- It decreases after the clock was set back: no candle beyond it is materialized, or is about to be by another session.
    PERFORM setval('public.refreshed_until', (extract(epoch FROM greatest(closed_minutes, watermark)) * 1000000)::bigint);
    -- Materialized by a policy while the clock was ahead, or by hand: trades of that time were committed as fresh ones.
    from_time := greatest(from_time, origin);
    IF from_time < watermark THEN
        INSERT INTO public.stale_ranges (write_id, since, until)
        VALUES (0, from_time, watermark - INTERVAL '1 microsecond');
    END IF;
    COMMIT;
    from_time := greatest(public.candles_watermark(intervals[1]), origin);
    IF from_time < closed_minutes THEN
        LOOP
            -- From chunk to chunk, because a market may rest for years.
            SELECT greatest(from_time, min(c.range_start)), least(min(c.range_end), closed_minutes)
            INTO from_time, to_time
            FROM timescaledb_information.chunks AS c
            WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'trades' AND c.range_end > from_time
            HAVING count(*) > 0;
            EXIT WHEN from_time IS NULL OR from_time >= to_time;
            to_time := least(from_time + buckets[1] * max_buckets, to_time);
            SELECT array_agg(s.id)
            INTO seen
            FROM public.stale_ranges AS s
            WHERE s.level = 1 AND s.since >= from_time AND s.until < to_time;
            CALL public.refresh_continuous_aggregate(
                'public.candles_1m', from_time, to_time, force => true, options => '{"buckets_per_batch": 0}'
            );
            UPDATE public.stale_ranges AS s SET level = 2 WHERE s.id = ANY (seen);
            UPDATE public.candle_refresh SET active_at = clock_timestamp();
            COMMIT;
            IF clock_timestamp() > deadline THEN
                -- Stale minutes from here on are left to the next run: refreshed now, they would move the watermark past others.
                closed_minutes := to_time;
                EXIT;
            END IF;
            from_time := to_time;
        END LOOP;
    END IF;
    -- At least one step, however long the minutes took. Bulk history takes turns with live trades: it may take minutes.
    LOOP
        step := NULL;
        SELECT s.level, s.since
        INTO step, from_time
        FROM public.stale_ranges AS s
        ORDER BY s.bulk = live_first, s.write_id, s.level, s.since
        LIMIT 1;
        EXIT WHEN step IS NULL;
        live_first := NOT live_first;
        bucket := buckets[step];
        -- With all ranges of the level that are near it: trades may have been written from the newest to the oldest.
        SELECT min(s.since)
        INTO from_time
        FROM public.stale_ranges AS s
        WHERE s.level = step AND s.since > from_time - bucket * max_buckets AND s.since <= from_time;
        closed := greatest(
            CASE WHEN step = 1 THEN closed_minutes ELSE public.time_bucket(bucket, now() - bucket) END,
            public.candles_watermark(intervals[step])
        );
        watermark := coalesce(public.candles_watermark(intervals[step]), '-infinity');
        -- Many ranges are rounded out to sixty buckets, because a refresh costs 8 ms whatever its range.
        SELECT array_agg(s.id), min(s.write_id), min(s.created_at), bool_and(s.bulk), CASE
            WHEN count(*) <= 100 THEN range_agg(tstzrange(
                public.time_bucket(bucket, s.since), public.time_bucket(bucket, s.until) + bucket
            ))
            ELSE range_agg(tstzrange(
                public.time_bucket(bucket * 60, s.since), public.time_bucket(bucket * 60, s.until) + bucket * 60
            ))
        END
        INTO seen, first_write, created, only_bulk, stale
        FROM public.stale_ranges AS s
        WHERE s.level = step AND s.since >= from_time AND s.since < from_time + bucket * max_buckets;
        -- Candles whose trades have been dropped are skipped, also if that was by hand since the run began. Trades that were
        -- deleted together with their chunks, by TRUNCATE, are not among them.
        IF step = 1 THEN
            SELECT greatest(r.dropped_before, (
                SELECT min(c.range_start)
                FROM timescaledb_information.chunks AS c
                WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'trades'
                HAVING min(c.range_start) > r.oldest_chunk
            ))
            INTO origin
            FROM public.retention AS r;
        END IF;
        FOREACH gap IN ARRAY ARRAY(SELECT r FROM unnest(stale * tstzmultirange(tstzrange(NULL, closed))) AS r) LOOP
            from_time := lower(gap);
            IF step = 1 THEN
                from_time := greatest(from_time, origin);
            ELSIF upper(gap) > watermark THEN
                -- A refresh above the watermark begins at the watermark: candles in a gap between them would never show again.
                from_time := least(from_time, (
                    SELECT greatest(watermark, public.time_bucket(bucket, min(c.range_start)))
                    FROM timescaledb_information.chunks AS c
                    LEFT JOIN timescaledb_information.continuous_aggregates AS a
                        ON a.materialization_hypertable_schema = c.hypertable_schema
                        AND a.materialization_hypertable_name = c.hypertable_name
                    WHERE (c.hypertable_schema = 'public' AND c.hypertable_name = 'trades')
                        OR (a.view_schema = 'public' AND a.view_name = 'candles_1m')
                    HAVING count(*) > 0
                ));
            END IF;
            WHILE from_time < upper(gap) LOOP
                to_time := least(from_time + bucket * 10080, upper(gap));
                CALL public.refresh_continuous_aggregate(
                    ('public.candles_' || intervals[step])::regclass,
                    from_time,
                    to_time,
                    force => true,
                    options => '{"buckets_per_batch": 0}'
                );
                UPDATE public.candle_refresh SET active_at = clock_timestamp();
                COMMIT;
                from_time := to_time;
                watermark := greatest(watermark, to_time);
            END LOOP;
        END LOOP;
        DELETE FROM public.stale_ranges AS s WHERE s.id = ANY (seen);
        IF step < array_length(buckets, 1) THEN
            INSERT INTO public.stale_ranges (level, since, until, write_id, created_at, bulk)
            SELECT step + 1, lower(r), upper(r) - INTERVAL '1 microsecond', first_write, created, only_bulk
            FROM unnest(stale) AS r;
        END IF;
        COMMIT;
        EXIT WHEN clock_timestamp() > deadline;
    END LOOP;
    PERFORM set_config('enable_seqscan', seqscan, false);
    IF EXISTS (SELECT FROM public.stale_ranges) AND job_id IS NOT NULL THEN
        -- Soon again; not at once, so that clients of the embedded engine get turns.
        PERFORM public.alter_job(job_id, next_start => clock_timestamp() + INTERVAL '250 milliseconds');
    END IF;
    UPDATE public.candle_refresh SET pid = NULL, backend_start = NULL, active_at = clock_timestamp();
END
$$;

SELECT alter_job(job_id, schedule_interval => INTERVAL '3 seconds', retry_period => INTERVAL '3 seconds')
FROM timescaledb_information.jobs
WHERE proc_schema = 'public' AND proc_name = 'refresh_candles';

COMMENT ON PROCEDURE refresh_candles(integer, jsonb) IS
    'Materializes the minutes that have closed, and refreshes the candles of stale_ranges through all levels. A job runs it '
    'every 3 seconds. Refresh candles_1m by no other means: only this procedure knows which trades have been dropped.';

CREATE OR REPLACE FUNCTION stale_times(level integer) RETURNS tstzmultirange
LANGUAGE sql STABLE
AS $$
    -- Later candles are not materialized, so they are computed from trades.
    SELECT coalesce(range_agg(tstzrange(since, until, '[]')), '{}') * (
        SELECT tstzmultirange(tstzrange(NULL, greatest(
            to_timestamp(0) + last_value * INTERVAL '1 microsecond',
            public.candles_watermark((ARRAY['1m', '5m', '15m', '30m', '1h', '4h', '1d', '1w'])[stale_times.level])
        )))
        FROM public.refreshed_until
    )
    FROM public.stale_ranges
    WHERE stale_ranges.level <= stale_times.level
$$;

COMMENT ON FUNCTION stale_times(integer) IS
    'Times whose candles of a level, 1 for 1m to 8 for 1w, do not contain all trades yet: refresh_candles() is about to refresh them.';

CREATE OR REPLACE VIEW candles AS
SELECT
    '1m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 minute' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '1 minute') && (SELECT stale_times(1)) AS settled
FROM candles_1m
UNION ALL
SELECT
    '5m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '5 minutes' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '5 minutes') && (SELECT stale_times(2)) AS settled
FROM candles_5m
UNION ALL
SELECT
    '15m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '15 minutes' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '15 minutes') && (SELECT stale_times(3)) AS settled
FROM candles_15m
UNION ALL
SELECT
    '30m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '30 minutes' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '30 minutes') && (SELECT stale_times(4)) AS settled
FROM candles_30m
UNION ALL
SELECT
    '1h'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 hour' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '1 hour') && (SELECT stale_times(5)) AS settled
FROM candles_1h
UNION ALL
SELECT
    '4h'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '4 hours' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '4 hours') && (SELECT stale_times(6)) AS settled
FROM candles_4h
UNION ALL
SELECT
    '1d'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 day' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '1 day') && (SELECT stale_times(7)) AS settled
FROM candles_1d
UNION ALL
SELECT
    '1w'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '7 days' <= now() AS closed, write_id,
    NOT tstzrange(bucket, bucket + INTERVAL '7 days') && (SELECT stale_times(8)) AS settled
FROM candles_1w;

COMMENT ON COLUMN candles.settled IS
    'False while stored, corrected or cancelled trades are missing in the candle, for seconds.';
