-- Present text of the functions and views of trades, symbols and the latest trade of each symbol.

CREATE OR REPLACE VIEW latest_prices AS
SELECT symbol, name, price, volume, time
FROM latest_trades
JOIN symbols USING (symbol);

CREATE OR REPLACE FUNCTION trades_numbered() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM nextval('write_ids');
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION trades_corrected() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    new.write_id := CASE
        WHEN (new.symbol, new.time, new.trade_id, new.price, new.volume)
            IS DISTINCT FROM (old.symbol, old.time, old.trade_id, old.price, old.volume)
        THEN currval('write_ids')
        ELSE old.write_id
    END;
    RETURN new;
END
$$;

CREATE OR REPLACE FUNCTION reject_price(symbol text, price numeric) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE check_violation USING
        MESSAGE = format('the price of a trade of %s must be greater than 0, not %s', symbol, price),
        HINT = format('If %1$s has such prices: UPDATE symbols SET signed = true WHERE symbol = %1$L', symbol),
        TABLE = 'trades', COLUMN = 'price', CONSTRAINT = 'trades_price_positive';
END
$$;

CREATE OR REPLACE FUNCTION trades_stored() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_generic_plan
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
    symbols_stored text[];
    symbols_newest timestamptz[];
BEGIN
    -- Each pass over the stored trades counts, so one returns all that is needed of each symbol.
    SELECT
        sum(trades), min(since), max(until), min(lowest_write), max(highest_write), min(minimum), min(fresh_since),
        array_agg(symbol), array_agg(until)
    INTO number, oldest, newest, lowest, highest, lowest_price, first_fresh, symbols_stored, symbols_newest
    FROM (
        SELECT
            symbol, count(*) AS trades, min(time) AS since, max(time) AS until, min(write_id) AS lowest_write,
            max(write_id) AS highest_write, min(price) AS minimum, min(time) FILTER (WHERE time >= fresh) AS fresh_since
        FROM stored
        GROUP BY symbol
    ) AS by_symbol;
    IF number IS NULL THEN
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
    PERFORM 1 FROM symbols WHERE symbol = ANY (symbols_stored) ORDER BY symbol FOR KEY SHARE;
    -- Behind the lock, which signed_checked() waits for. Over 10,000 trades, the minimum costs as much as a check of each price.
    IF lowest_price <= 0 THEN
        SELECT symbol, price
        INTO rejected
        FROM stored
        WHERE price <= 0 AND NOT (SELECT signed FROM symbols WHERE symbols.symbol = stored.symbol)
        ORDER BY symbol, time, trade_id
        LIMIT 1;
        IF FOUND THEN
            PERFORM reject_price(rejected.symbol, rejected.price);
        END IF;
    END IF;
    -- Only symbols with a later trade are written, in their order: writers seldom wait for each other, and never in a circle.
    -- IS TRUE makes it no join, but a look-up in a hash table: the session keeps the plan, and a join that was planned for a few
    -- trades would compare each of many with each symbol.
    INSERT INTO latest_trades AS known (symbol, time, trade_id, price, volume)
    SELECT DISTINCT ON (symbol) symbol, time, trade_id, price, volume
    FROM stored
    WHERE ((symbol, time) IN (
        SELECT newest.symbol, newest.time
        FROM unnest(symbols_stored, symbols_newest) AS newest (symbol, time)
        WHERE newest.time >= coalesce(
            (SELECT latest_trades.time FROM latest_trades WHERE latest_trades.symbol = newest.symbol), '-infinity'
        )
    )) IS TRUE
    ORDER BY symbol, trade_id DESC
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
    IF new.price <= 0 AND EXISTS (SELECT FROM symbols WHERE symbol = new.symbol AND NOT signed) THEN
        PERFORM reject_price(new.symbol, new.price);
    END IF;
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

CREATE OR REPLACE FUNCTION signed_checked() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- Waits for transactions that have stored or changed trades of the symbol; later ones wait for this one.
    PERFORM 1 FROM symbols WHERE symbol = old.symbol FOR UPDATE;
    -- Weekly candles instead of all trades of the symbol, and the trades whose candles are yet to be refreshed.
    IF EXISTS (SELECT FROM candles_1w WHERE symbol = old.symbol AND low <= 0) OR EXISTS (
        SELECT
        FROM stale_ranges
        JOIN trades ON trades.time BETWEEN stale_ranges.since AND stale_ranges.until
        WHERE trades.symbol = old.symbol AND trades.price <= 0
    ) THEN
        RAISE check_violation USING
            MESSAGE = format('%s has trades with prices of 0 or less, so it stays signed', old.symbol),
            DETAIL = 'Candles of trades that retention has dropped count as well.',
            TABLE = 'symbols', COLUMN = 'signed', CONSTRAINT = 'symbols_signed_needed';
    END IF;
    RETURN new;
END
$$;
