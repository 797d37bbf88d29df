-- Frozen: part of revision 0013, never edited.
-- Back to revision 0012. Events that it does not know are deleted.

-- First take the lease of the job, which must not run meanwhile, then the tables in the order of writers: no deadlock.
DO $$
BEGIN
    FOR attempt IN 1..50 LOOP
        IF lease_candle_refresh() THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.1);
        PERFORM pg_stat_clear_snapshot();
    END LOOP;
    RAISE lock_not_available USING
        MESSAGE = 'refresh_candles() runs in another session', HINT = 'Wait for its end, and try again.';
END
$$;
LOCK TABLE trades, pending_commits, stale_ranges, stream_events, stream_late_candles IN ACCESS EXCLUSIVE MODE;

DELETE FROM stream_late_candles WHERE until IS NOT NULL;
DELETE FROM stream_events WHERE kind = 'reload' OR change IS NOT NULL;

SELECT alter_job(job_id, schedule_interval => INTERVAL '5 seconds', retry_period => INTERVAL '5 seconds')
FROM timescaledb_information.jobs
WHERE proc_schema = 'public' AND proc_name = 'refresh_candles';

DROP VIEW candles;
DROP FUNCTION stale_times(integer);

CREATE OR REPLACE FUNCTION stream_is_late("time" timestamptz, stored_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE
-- A minute is materialized a minute after its end; less the time that a commit may take.
RETURN date_bin(INTERVAL '1 minute', "time", '2000-01-01 00:00:00Z') <= stored_at - INTERVAL '90 seconds';

COMMENT ON FUNCTION stream_is_late(timestamptz, timestamptz) IS
    'True if the minute of a trade may have been materialized before the trade was stored: its candle does not contain it yet.';

CREATE OR REPLACE FUNCTION number_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this bigint;
    clock bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    committed timestamptz;
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
    IF EXISTS (SELECT FROM stream_events WHERE write_id = new.write_id) THEN
        INSERT INTO stream_late_candles (symbol, bucket)
        SELECT DISTINCT symbol, time_bucket(INTERVAL '1 minute', time)
        FROM stream_events
        WHERE write_id = new.write_id AND kind = 'trade' AND stream_is_late(time, committed);
        PERFORM pg_notify('market_data_stream', this::text);
    END IF;
    RETURN NULL;
END
$$;

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
BEGIN
    SELECT count(*), min(time), max(time), min(write_id), max(write_id)
    INTO number, oldest, newest, lowest, highest
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
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
    VALUES (this, 'store', number, oldest, newest);
    INSERT INTO stale_ranges (since, until)
    SELECT min(time), max(time)
    FROM stored
    GROUP BY time_bucket(INTERVAL '1 hour', time);
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
    INSERT INTO stale_ranges (since, until) VALUES (old.time, old.time);
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
        INSERT INTO stale_ranges (since, until) VALUES (new.time, new.time);
        INSERT INTO latest_trades AS known (symbol, time, trade_id, price, volume)
        VALUES (new.symbol, new.time, new.trade_id, new.price, new.volume)
        ON CONFLICT (symbol) DO UPDATE
        SET time = excluded.time, trade_id = excluded.trade_id, price = excluded.price, volume = excluded.volume
        WHERE (excluded.time, excluded.trade_id) >= (known.time, known.trade_id);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION trades_changed() IS
    'After UPDATE and DELETE, for each trade: records the stale range and finds the latest trade again.';

CREATE OR REPLACE FUNCTION trades_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO stale_ranges (since, until)
    SELECT range_start, range_end - INTERVAL '1 microsecond'
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades';
    UPDATE retention SET oldest_chunk = NULL;
    DELETE FROM latest_trades;
    -- number_commit() fills in the number of trades.
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
    SELECT nextval('write_ids'), 'truncate', 0, min(range_start), max(range_end)
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'trades';
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION trades_recorded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- The trades of the statement from the audit trail, because there is no transition table. An UPDATE and a DELETE of one
    -- statement (MERGE) share its write_id.
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
    SELECT
        write_id,
        CASE TG_OP WHEN 'UPDATE' THEN 'correct' ELSE 'cancel' END,
        count(*),
        least(min(time), min(moved_to)),
        greatest(max(time), max(moved_to))
    FROM trade_changes
    WHERE write_id = currval('write_ids') AND (TG_OP = 'UPDATE') = (action = 'correct' OR moved_to IS NOT NULL)
    GROUP BY write_id;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION trades_recorded() IS
    'After UPDATE and DELETE: records the commit, unless the statement has changed no trade.';

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

COMMENT ON FUNCTION trades_streamed() IS 'After INSERT and COPY: copies the trades to stream_events.';

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

COMMENT ON FUNCTION trades_revised() IS 'After UPDATE and DELETE: records the candle, whose revision will be published.';

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

CREATE OR REPLACE PROCEDURE refresh_candles(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
LANGUAGE plpgsql
-- No SET search_path, which would forbid transaction control in the procedure.
AS $$
-- First the minutes that have closed, then the stale ranges, level by level: a level is read through the finer ones, which
-- would be computed from trades again and again while they are not materialized. A range moves to the next level in the
-- transaction that ends its refresh, so the next run continues after an interrupted one.
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
    -- A run of the job ends when it is beyond its budget, because the embedded engine does nothing else meanwhile.
    deadline constant timestamptz := clock_timestamp() + (config->>'budget')::interval;
    seqscan constant text := current_setting('enable_seqscan');
    chunks_dropped boolean;
    step integer;
    bucket interval;
    origin timestamptz;
    closed timestamptz;
    watermark timestamptz;
    seen bigint[];
    stale tstzmultirange;
    gap tstzrange;
    from_time timestamptz;
    to_time timestamptz;
BEGIN
    -- One run at a time, because two refreshes of one range fail: a job skips its run, a command waits.
    IF job_id IS NULL THEN
        PERFORM pg_advisory_lock(7164051127);
    ELSIF NOT pg_try_advisory_lock(7164051127) THEN
        RETURN;
    END IF;
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
    -- Candles up to the watermark are materialized, even if by a clock that was set back they have not closed yet.
    closed := greatest(public.time_bucket(buckets[1], now() - buckets[1]), public.candles_watermark(intervals[1]));
    -- Ranges that no level has materialized, nor will this run. A level may be materialized further than the minutes, by its
    -- own policy.
    DELETE FROM public.stale_ranges AS s
    WHERE s.level = 1
        AND s.since >= greatest(closed, (SELECT max(public.candles_watermark(i)) FROM unnest(intervals) AS i));
    COMMIT;
    from_time := greatest(public.candles_watermark(intervals[1]), origin);
    IF from_time < closed THEN
        LOOP
            -- From chunk to chunk, because a market may rest for years.
            SELECT greatest(from_time, min(c.range_start)), least(min(c.range_end), closed)
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
            COMMIT;
            EXIT WHEN clock_timestamp() > deadline;
            from_time := to_time;
        END LOOP;
    END IF;
    LOOP
        EXIT WHEN clock_timestamp() > deadline;
        SELECT min(s.level) INTO step FROM public.stale_ranges AS s;
        EXIT WHEN step IS NULL;
        bucket := buckets[step];
        closed := greatest(public.time_bucket(bucket, now() - bucket), public.candles_watermark(intervals[step]));
        watermark := coalesce(public.candles_watermark(intervals[step]), '-infinity');
        -- Many ranges are rounded out to sixty buckets, because a refresh costs 8 ms whatever its range.
        SELECT array_agg(s.id), CASE
            WHEN count(*) <= 100 THEN range_agg(tstzrange(
                public.time_bucket(bucket, s.since), public.time_bucket(bucket, s.until) + bucket
            ))
            ELSE range_agg(tstzrange(
                public.time_bucket(bucket * 60, s.since), public.time_bucket(bucket * 60, s.until) + bucket * 60
            ))
        END
        INTO seen, stale
        FROM public.stale_ranges AS s
        WHERE s.level = step AND s.since < bucket * max_buckets + (
            SELECT min(first.since) FROM public.stale_ranges AS first WHERE first.level = step
        );
        -- Stale ranges before the oldest chunk are skipped, because their trades have been dropped. The oldest chunk is looked
        -- up again, because trades may have been stored in an older one since the run began.
        IF step = 1 THEN
            SELECT greatest(min(c.range_start), (SELECT r.dropped_before FROM public.retention AS r))
            INTO origin
            FROM timescaledb_information.chunks AS c
            WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'trades';
        END IF;
        FOREACH gap IN ARRAY ARRAY(SELECT r FROM unnest(stale * tstzmultirange(tstzrange(NULL, closed))) AS r) LOOP
            from_time := lower(gap);
            IF step = 1 THEN
                from_time := greatest(from_time, origin);
            ELSIF upper(gap) > watermark THEN
                -- A refresh above the watermark begins at the watermark: candles in a gap between them would never show again.
                from_time := least(from_time, greatest(watermark, (
                    SELECT public.time_bucket(bucket, min(c.range_start))
                    FROM timescaledb_information.chunks AS c
                    JOIN timescaledb_information.continuous_aggregates AS a
                        ON a.materialization_hypertable_schema = c.hypertable_schema
                        AND a.materialization_hypertable_name = c.hypertable_name
                    WHERE a.view_schema = 'public' AND a.view_name = 'candles_1m'
                )));
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
                COMMIT;
                from_time := to_time;
                watermark := greatest(watermark, to_time);
            END LOOP;
        END LOOP;
        DELETE FROM public.stale_ranges AS s WHERE s.id = ANY (seen);
        IF step < array_length(buckets, 1) THEN
            INSERT INTO public.stale_ranges (level, since, until)
            SELECT step + 1, lower(r), upper(r) - INTERVAL '1 microsecond'
            FROM unnest(stale) AS r;
        END IF;
        COMMIT;
    END LOOP;
    PERFORM set_config('enable_seqscan', seqscan, false);
    PERFORM pg_advisory_unlock(7164051127);
END
$$;

COMMENT ON PROCEDURE refresh_candles(integer, jsonb) IS
    'Materializes the minutes that have closed, and refreshes the candles of stale_ranges through all levels. A job runs it '
    'every 5 seconds. Refresh candles_1m by no other means: only this procedure knows which trades have been dropped.';

DROP TRIGGER trades_streamed ON trades;
CREATE TRIGGER trades_streamed
AFTER INSERT ON trades
REFERENCING NEW TABLE AS stored
FOR EACH STATEMENT WHEN (current_setting('market_data.stream', true) IS DISTINCT FROM 'off')
EXECUTE FUNCTION trades_streamed();

DROP TRIGGER trades_revised ON trades;
CREATE TRIGGER trades_revised
AFTER UPDATE OR DELETE ON trades
FOR EACH ROW WHEN (current_setting('market_data.stream', true) IS DISTINCT FROM 'off')
EXECUTE FUNCTION trades_revised();

CREATE VIEW candles AS
SELECT
    '1m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 minute' <= now() AS closed, write_id
FROM candles_1m
UNION ALL
SELECT
    '5m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '5 minutes' <= now() AS closed, write_id
FROM candles_5m
UNION ALL
SELECT
    '15m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '15 minutes' <= now() AS closed, write_id
FROM candles_15m
UNION ALL
SELECT
    '30m'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '30 minutes' <= now() AS closed, write_id
FROM candles_30m
UNION ALL
SELECT
    '1h'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 hour' <= now() AS closed, write_id
FROM candles_1h
UNION ALL
SELECT
    '4h'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '4 hours' <= now() AS closed, write_id
FROM candles_4h
UNION ALL
SELECT
    '1d'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '1 day' <= now() AS closed, write_id
FROM candles_1d
UNION ALL
SELECT
    '1w'::text AS "interval", symbol, bucket, open, high, low, close, volume,
    turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
    bucket + INTERVAL '7 days' <= now() AS closed, write_id
FROM candles_1w;

COMMENT ON VIEW candles IS
    'Candles of all intervals in one view. Query it with an interval, which prunes it to one aggregate, a symbol and a range of '
    'buckets.';
COMMENT ON COLUMN candles.symbol IS 'Traded symbol.';
COMMENT ON COLUMN candles.bucket IS 'Start of the bucket (UTC; weeks from Monday).';
COMMENT ON COLUMN candles.open IS 'Price of the first trade (by time, then trade_id).';
COMMENT ON COLUMN candles.high IS 'Highest price.';
COMMENT ON COLUMN candles.low IS 'Lowest price.';
COMMENT ON COLUMN candles.close IS 'Price of the last trade (by time, then trade_id).';
COMMENT ON COLUMN candles.volume IS 'Units traded.';
COMMENT ON COLUMN candles.vwap IS 'Volume-weighted average price: turnover divided by volume, null if the volume is 0.';
COMMENT ON COLUMN candles.turnover IS 'Sum of price times volume, exact.';
COMMENT ON COLUMN candles.trade_count IS 'Number of trades.';
COMMENT ON COLUMN candles.closed IS 'True if the bucket has ended; only late, corrected or cancelled trades change its candle then.';
COMMENT ON COLUMN candles.write_id IS 'Greatest write_id of the trades.';

COMMENT ON TABLE stream_events IS
    'Events of the streams, kept for an hour: each trade stored, unless market_data.stream is off, and each candle that '
    'closed or changed afterwards. Ordered by the version in commits, then by number.';

COMMENT ON COLUMN stream_events.kind IS
    'trade: was stored; closing: the candle of symbol and interval closed; revision: candles of all intervals changed, and are '
    'refreshed.';

COMMENT ON COLUMN stream_events.time IS 'Time of the trade; of a candle, start of its bucket.';

COMMENT ON COLUMN stream_events.price IS 'Of a trade: price of one unit, exact.';

COMMENT ON COLUMN stream_events.volume IS 'Of a trade: units traded, exact.';

COMMENT ON TABLE stream_late_candles IS
    'Candles of one minute that got a trade when they may have been materialized: published as revisions once refreshed.';

COMMENT ON COLUMN stream_late_candles.bucket IS 'Start of the minute.';

ALTER TABLE stream_events
    DROP COLUMN late,
    DROP COLUMN change,
    DROP COLUMN latest_time,
    DROP COLUMN latest_price,
    DROP COLUMN latest_volume,
    DROP COLUMN until,
    DROP CONSTRAINT stream_events_kind_known,
    ADD CONSTRAINT stream_events_kind_known CHECK (kind IN ('trade', 'closing', 'revision'));
ALTER TABLE stream_late_candles DROP COLUMN write_id, DROP COLUMN until;
ALTER TABLE pending_commits DROP COLUMN first_fresh;
ALTER TABLE stale_ranges DROP COLUMN write_id, DROP COLUMN created_at, DROP COLUMN bulk, DROP CONSTRAINT stale_ranges_in_order;
DROP FUNCTION fresh_since(), lease_candle_refresh(), is_held(candle_refresh);
DROP TABLE candle_refresh;
DROP SEQUENCE refreshed_until;

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
