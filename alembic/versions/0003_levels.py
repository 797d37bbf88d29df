"""Candles of every interval, each level built on the next finer one, and the jobs that keep them.

Revision: 0003
Follows: 0002
"""

from typing import NamedTuple

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


class Level(NamedTuple):
    """Candles of one interval, and the refresh policy that materializes them."""

    interval: str
    source: str
    bucket: str
    """The length of a bucket. Also the policy's end offset: what is materialized is closed for as long."""
    schedule: str
    """How often the policy looks for closed buckets."""


# The refresh windows and schedules of all levels. A window begins at the first candle (start offset NULL), for a refresh
# recomputes only what changed, and a source that is itself candles is kept for ever: so no pause of the database, however
# long, leaves a gap. Trades may be dropped, so 1m has no such policy: its window is that of the job refresh_candles, every
# 5 seconds from the watermark up to a minute ago, and whatever stale_ranges has.
LEVELS = (
    Level("5m", "1m", "5 minutes", "5 minutes"),
    Level("15m", "5m", "15 minutes", "15 minutes"),
    Level("30m", "15m", "30 minutes", "30 minutes"),
    Level("1h", "30m", "1 hour", "30 minutes"),
    Level("4h", "1h", "4 hours", "1 hour"),
    Level("1d", "4h", "1 day", "1 hour"),
    Level("1w", "1d", "7 days", "1 hour"),
)
LOCK = 7164051127
BUCKETS = {"1m": "1 minute", **{level.interval: level.bucket for level in LEVELS}}


def upgrade() -> None:
    _create_watermark()
    for level in LEVELS:
        _create_level(level)
    _create_candles()
    op.execute("SELECT remove_continuous_aggregate_policy('candles_1m')")
    _create_refresh()
    _comment(
        "VIEW candles_1m",
        "Candles of one minute (UTC), the open one included: a real-time continuous aggregate over trades. A trade that "
        "arrives late, for a bucket already materialized, shows within seconds.",
    )


def downgrade() -> None:
    op.execute("SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'refresh_candles'")
    op.execute("DROP PROCEDURE refresh_candles(integer, jsonb)")
    op.execute("""
        SELECT add_continuous_aggregate_policy(
            'candles_1m',
            -- Without a start, as it was, unless it would find trades gone and empty their candles.
            start_offset => (SELECT CASE WHEN dropped_before > '-infinity' THEN INTERVAL '3 hours' END FROM retention),
            end_offset => INTERVAL '1 minute',
            schedule_interval => INTERVAL '1 minute',
            buckets_per_batch => 0
        )
    """)
    _comment(
        "VIEW candles_1m",
        "Candles of one minute (UTC), the open one included: a real-time continuous aggregate over trades. A trade that "
        "arrives late, for a bucket already materialized, shows within about a minute.",
    )
    op.execute("DROP VIEW candles")
    for level in reversed(LEVELS):
        op.execute(f"DROP MATERIALIZED VIEW candles_{level.interval}")
    op.execute("DROP FUNCTION candles_watermark(text)")


def _create_watermark() -> None:
    op.execute("""
        CREATE FUNCTION candles_watermark("interval" text) RETURNS timestamptz
        LANGUAGE sql STABLE
        AS $$
            SELECT found.watermark
            FROM _timescaledb_catalog.continuous_agg
            CROSS JOIN LATERAL _timescaledb_functions.to_timestamp(
                _timescaledb_functions.cagg_watermark(mat_hypertable_id)
            ) AS found (watermark)
            WHERE user_view_schema = 'public' AND user_view_name = 'candles_' || "interval"
                AND found.watermark > '0001-01-01 00:00:00Z'
        $$
    """)
    _comment(
        "FUNCTION candles_watermark(text)",
        "Up to where the candles of an interval are materialized, null where none are; later ones are computed when read.",
    )


def _create_level(level: Level) -> None:
    view = f"candles_{level.interval}"
    op.execute(f"""
        CREATE MATERIALIZED VIEW {view}
        WITH (
            timescaledb.continuous,
            timescaledb.materialized_only = false,
            timescaledb.create_group_indexes = true
        ) AS
        SELECT
            symbol,
            time_bucket(INTERVAL '{level.bucket}', bucket) AS bucket,
            first(open, bucket) AS open,
            max(high) AS high,
            min(low) AS low,
            last(close, bucket) AS close,
            sum(volume) AS volume,
            sum(turnover) AS turnover,
            sum(trade_count)::bigint AS trade_count
        FROM candles_{level.source}
        GROUP BY symbol, time_bucket(INTERVAL '{level.bucket}', bucket)
        WITH NO DATA
    """)
    op.execute(f"""
        SELECT add_continuous_aggregate_policy(
            '{view}',
            start_offset => NULL,
            end_offset => INTERVAL '{level.bucket}',
            schedule_interval => INTERVAL '{level.schedule}',
            buckets_per_batch => 0
        )
    """)
    _comment(
        f"VIEW {view}",
        f"Candles of {level.bucket} (UTC{', from Monday' if level.interval == '1w' else ''}), the open one included: a "
        f"real-time continuous aggregate over candles_{level.source}.",
    )
    _comment(f"COLUMN {view}.symbol", "What was traded.")
    _comment(f"COLUMN {view}.bucket", "Start of the bucket; it ends where the next one starts.")
    _comment(f"COLUMN {view}.open", "Price of the first trade (by time, then trade_id).")
    _comment(f"COLUMN {view}.high", "Highest price.")
    _comment(f"COLUMN {view}.low", "Lowest price.")
    _comment(f"COLUMN {view}.close", "Price of the last trade (by time, then trade_id).")
    _comment(f"COLUMN {view}.volume", "Units traded.")
    _comment(f"COLUMN {view}.turnover", "Sum of price times volume; divided by volume it is the vwap, exactly.")
    _comment(f"COLUMN {view}.trade_count", "Number of trades.")


def _create_candles() -> None:
    branches = "\n        UNION ALL\n".join(
        f"""
        SELECT
            '{interval}'::text AS "interval", symbol, bucket, open, high, low, close, volume,
            turnover / nullif(volume, 0) AS vwap, turnover, trade_count,
            bucket + INTERVAL '{bucket}' <= now() AS closed
        FROM candles_{interval}"""
        for interval, bucket in BUCKETS.items()
    )
    op.execute(f"CREATE VIEW candles AS {branches}")
    _comment(
        "VIEW candles",
        "Candles of all intervals in one view. Ask with an interval, which prunes it to one aggregate, a symbol and a range "
        "of buckets.",
    )
    _comment('COLUMN candles."interval"', f"Length of the bucket, one of {', '.join(BUCKETS)}.")
    _comment("COLUMN candles.symbol", "What was traded.")
    _comment("COLUMN candles.bucket", "Start of the bucket (UTC; weeks from Monday).")
    _comment("COLUMN candles.open", "Price of the first trade (by time, then trade_id).")
    _comment("COLUMN candles.high", "Highest price.")
    _comment("COLUMN candles.low", "Lowest price.")
    _comment("COLUMN candles.close", "Price of the last trade (by time, then trade_id).")
    _comment("COLUMN candles.volume", "Units traded.")
    _comment("COLUMN candles.vwap", "Volume-weighted average price, turnover divided by volume; null where the volume is 0.")
    _comment("COLUMN candles.turnover", "Sum of price times volume, exact.")
    _comment("COLUMN candles.trade_count", "Number of trades.")
    _comment("COLUMN candles.closed", "Whether the bucket has ended; only late trades change its candle then.")


def _create_refresh() -> None:
    intervals = ", ".join(f"'{interval}'" for interval in BUCKETS)
    buckets = ", ".join(f"'{bucket}'" for bucket in BUCKETS.values())
    # First the minutes that have closed, then the stale ranges, level by level: a level is read through the ones below,
    # which would be computed from trades again and again while they are not materialized. A range goes on to the next
    # level in the transaction that ends its refresh, so that an interrupted run is made up for by the next.
    # Forced, for TimescaleDB's own notes of what has changed are not enough: a refresh that fails halfway, against the
    # columnstore's policy for example, has used them up, and of a COPY into trades there are none.
    # A refresh above the watermark begins at the watermark: what it would leap over would never be shown again.
    # A job's run ends when it is beyond its budget, for the embedded engine does nothing else meanwhile.
    # Many ranges at once are rounded out to sixty buckets, as a refresh costs 8 ms whatever its range.
    # In one batch each: cut into batches, the first refresh of a table whose only trades are newer than the window
    # took 3 s on a server and 31 s on the embedded engine, against 14 ms.
    # One at a time, for two refreshes of one range fail: a job leaves the field to another run, a command waits for it.
    # Without sequential scans: their filter calls for the watermark anew with each trade, where an index scan does once; it
    # makes the 5-minute candles of 270,000 trades in 0.8 s instead of 13.
    # Loops over arrays, and a COMMIT after each refresh: within a query's loop, or without that, TimescaleDB 2.23 does
    # not see what the refresh before has stored. No SET search_path, which would forbid transactions in here.
    op.execute(f"""
        CREATE PROCEDURE refresh_candles(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
        LANGUAGE plpgsql
        AS $$
        DECLARE
            intervals constant text[] := ARRAY[{intervals}];
            buckets constant interval[] := ARRAY[{buckets}];
            at_once constant integer := coalesce((config->>'buckets')::integer, 10080);
            enough constant timestamptz := clock_timestamp() + (config->>'budget')::interval;
            seqscan constant text := current_setting('enable_seqscan');
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
            IF job_id IS NULL THEN
                PERFORM pg_advisory_lock({LOCK});
            ELSIF NOT pg_try_advisory_lock({LOCK}) THEN
                RETURN;
            END IF;
            PERFORM set_config('enable_seqscan', 'off', false);
            -- Not before the oldest trade that is left: those that have been dropped, by whomever, are missed by no candle.
            SELECT min(c.range_start)
            INTO origin
            FROM timescaledb_information.chunks AS c
            WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'trades';
            UPDATE public.retention AS r
            SET oldest_chunk = origin,
                dropped_before = greatest(r.dropped_before, CASE WHEN origin > r.oldest_chunk THEN origin END)
            WHERE r.oldest_chunk IS DISTINCT FROM origin;
            SELECT greatest(origin, r.dropped_before) INTO origin FROM public.retention AS r;
            closed := public.time_bucket(buckets[1], now() - buckets[1]);
            -- No level has materialized any of these, nor will this run.
            DELETE FROM public.stale_ranges AS s WHERE s.level = 1 AND s.since >= closed;
            COMMIT;
            from_time := greatest(public.candles_watermark(intervals[1]), origin);
            IF from_time < closed THEN
                LOOP
                    -- From chunk to chunk, for a market may rest for years.
                    SELECT greatest(from_time, min(c.range_start)), least(min(c.range_end), closed)
                    INTO from_time, to_time
                    FROM timescaledb_information.chunks AS c
                    WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'trades' AND c.range_end > from_time
                    HAVING count(*) > 0;
                    EXIT WHEN from_time IS NULL OR from_time >= to_time;
                    to_time := least(from_time + buckets[1] * at_once, to_time);
                    SELECT array_agg(s.id)
                    INTO seen
                    FROM public.stale_ranges AS s
                    WHERE s.level = 1 AND s.since >= from_time AND s.until < to_time;
                    CALL public.refresh_continuous_aggregate(
                        'public.candles_1m', from_time, to_time, force => true, options => '{{"buckets_per_batch"\\: 0}}'
                    );
                    UPDATE public.stale_ranges AS s SET level = 2 WHERE s.id = ANY (seen);
                    COMMIT;
                    EXIT WHEN clock_timestamp() > enough;
                    from_time := to_time;
                END LOOP;
            END IF;
            LOOP
                EXIT WHEN clock_timestamp() > enough;
                SELECT min(s.level) INTO step FROM public.stale_ranges AS s;
                EXIT WHEN step IS NULL;
                bucket := buckets[step];
                closed := public.time_bucket(bucket, now() - bucket);
                watermark := coalesce(public.candles_watermark(intervals[step]), '-infinity');
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
                WHERE s.level = step AND s.since < bucket * at_once + (
                    SELECT min(first.since) FROM public.stale_ranges AS first WHERE first.level = step
                );
                FOREACH gap IN ARRAY ARRAY(SELECT r FROM unnest(stale * tstzmultirange(tstzrange(NULL, closed))) AS r) LOOP
                    from_time := lower(gap);
                    IF step = 1 THEN
                        from_time := greatest(from_time, origin);
                    ELSIF upper(gap) > watermark THEN
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
                            options => '{{"buckets_per_batch"\\: 0}}'
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
            PERFORM pg_advisory_unlock({LOCK});
        END
        $$
    """)
    op.execute("REVOKE EXECUTE ON PROCEDURE refresh_candles(integer, jsonb) FROM PUBLIC")
    op.execute("""
        SELECT alter_job(
            add_job(
                'refresh_candles',
                schedule_interval => INTERVAL '5 seconds',
                config => '{"buckets"\\: 1440, "budget"\\: "1 second"}'
            ),
            retry_period => INTERVAL '5 seconds'
        )
    """)
    _comment(
        "PROCEDURE refresh_candles(integer, jsonb)",
        "Materializes the minutes that have closed, and refreshes the candles of stale_ranges through all levels. A job "
        "runs it every 5 seconds. Refresh candles_1m with nothing else: only this knows which trades have been dropped.",
    )


def _comment(what: str, text: str) -> None:
    op.execute(f"COMMENT ON {what} IS '{text}'".replace(":", r"\:"))
