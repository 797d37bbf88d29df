-- Frozen: part of revision 0026, never edited.

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
    lowest_price numeric;
    rejected record;
    horizon timestamptz;
    fresh constant timestamptz := fresh_since();
    first_fresh timestamptz;
BEGIN
    SELECT count(*), min(time), max(time), min(write_id), max(write_id), min(price), min(time) FILTER (WHERE time >= fresh)
    INTO number, oldest, newest, lowest, highest, lowest_price, first_fresh
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
    -- Behind the lock, which signed_checked() waits for. Over 10,000 trades, the minimum costs as much as a check of each price.
    IF lowest_price <= 0 THEN
        SELECT symbol, price
        INTO rejected
        FROM stored JOIN symbols USING (symbol)
        WHERE price <= 0 AND NOT signed
        ORDER BY symbol, time, trade_id
        LIMIT 1;
        IF FOUND THEN
            PERFORM reject_price(rejected.symbol, rejected.price);
        END IF;
    END IF;
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
        INSERT INTO reloads AS known (write_id, symbol, since, until)
        SELECT this, symbol, min(time), max(time) + INTERVAL '1 microsecond'
        FROM stored
        WHERE time < bulk_before
        GROUP BY symbol
        ON CONFLICT (write_id, symbol) DO UPDATE
        SET since = least(known.since, excluded.since), until = greatest(known.until, excluded.until);
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
        IF job_id IS NOT NULL THEN
            -- The job fails, so that a session that keeps the lease is noticed.
            RAISE lock_not_available USING MESSAGE = format(
                'session %s refreshes candles, so this run gives way',
                (SELECT lease.pid FROM public.candle_refresh AS lease)
            );
        END IF;
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
