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
