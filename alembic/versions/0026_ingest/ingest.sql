-- Frozen: part of revision 0026, never edited. The present text of functions and views is in alembic/sql/.
-- Triggers of stored trades read them fewer times.

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
