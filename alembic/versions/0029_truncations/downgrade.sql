-- Frozen: part of revision 0029, never edited.

CREATE FUNCTION candle_minutes(symbol text, minutes timestamptz[])
RETURNS TABLE (
    bucket timestamptz, open numeric, high numeric, low numeric, close numeric, volume numeric, turnover numeric,
    trade_count bigint, write_id bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    IF cardinality(minutes) <= 100 THEN
        RETURN QUERY
        SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
        FROM public.candles_1m AS c
        WHERE c.symbol = candle_minutes.symbol AND c.bucket = ANY (minutes)
            AND c.bucket >= minutes[1] AND c.bucket <= minutes[array_upper(minutes, 1)];
    ELSE
        -- Hashed: in the columnstore, each row would be compared with each minute.
        RETURN QUERY
        SELECT c.bucket, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trade_count, c.write_id
        FROM public.candles_1m AS c
        WHERE c.symbol = candle_minutes.symbol AND c.bucket IN (SELECT unnest(minutes))
            AND c.bucket >= minutes[1] AND c.bucket <= minutes[array_upper(minutes, 1)];
    END IF;
END
$$;

COMMENT ON FUNCTION candle_minutes(text, timestamptz[]) IS
'Candles of single minutes of a symbol, given in order: planned once, because estimates for hundreds of minutes take long.';

ALTER TABLE calendars DROP CONSTRAINT calendars_minutes_in_range;
ALTER TABLE calendars ADD CONSTRAINT calendars_minutes_in_range CHECK (
    pre_market_minutes BETWEEN 0 AND 1440 AND post_market_minutes BETWEEN 0 AND 1440
    AND auction_minutes BETWEEN 0 AND 60
);

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
    -- Of all symbols, also of those without a trade: no revision before this one can be read.
    INSERT INTO reloads (write_id, since, until) SELECT this, first_time, last_time WHERE first_time IS NOT NULL;
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

COMMENT ON COLUMN commits.first_time IS 'Smallest time of the trades; of candles, start of the earliest bucket.';
COMMENT ON COLUMN commits.last_time IS 'Greatest time of the trades; of candles, start of the latest bucket.';
