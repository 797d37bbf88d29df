-- Frozen: part of revision 0029, never edited.

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
    -- Of all symbols, also of those without a trade: no revision before this one can be read, nor an earlier TRUNCATE.
    SELECT least(first_time, min(since)), greatest(last_time, max(until))
    INTO first_time, last_time
    FROM reloads
    WHERE symbol IS NULL;
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
    -- number_commit() fills in the number of trades. The times are those of the reload, by which candle_revisions() finds it.
    INSERT INTO pending_commits (write_id, kind, trade_count, first_time, last_time)
    VALUES (this, 'truncate', 0, first_time, last_time);
    RETURN NULL;
END
$$;

COMMENT ON COLUMN commits.first_time IS
    'Smallest time of the trades; of candles, start of the earliest bucket; of a TRUNCATE, start of its reload.';
COMMENT ON COLUMN commits.last_time IS
    'Greatest time of the trades; of candles, start of the latest bucket; of a TRUNCATE, end of its reload.';

-- As pg_dump and a restore write it: they put parentheses around BETWEEN.
ALTER TABLE calendars DROP CONSTRAINT calendars_minutes_in_range;
ALTER TABLE calendars ADD CONSTRAINT calendars_minutes_in_range CHECK (
    pre_market_minutes >= 0 AND pre_market_minutes <= 1440
    AND post_market_minutes >= 0 AND post_market_minutes <= 1440
    AND auction_minutes >= 0 AND auction_minutes <= 60
);

-- Not called since revision 0025.
DROP FUNCTION candle_minutes(text, timestamptz[]);
