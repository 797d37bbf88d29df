-- Present text of the functions and views of the audit trail of trades.

CREATE OR REPLACE FUNCTION trades_audited() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    stays boolean;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        stays := (new.symbol, new.time, new.trade_id) = (old.symbol, old.time, old.trade_id);
        IF stays AND (new.price, new.volume) = (old.price, old.volume) THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO trade_changes (
        action, symbol, time, trade_id, price_before, volume_before, price_after, volume_after, actor, reason,
        write_id, write_id_before, moved_to, database_role
    )
    VALUES (
        CASE WHEN stays THEN 'correct' ELSE 'cancel' END,
        old.symbol, old.time, old.trade_id, old.price, old.volume,
        CASE WHEN stays THEN new.price END,
        CASE WHEN stays THEN new.volume END,
        coalesce(nullif(current_setting('market_data.actor', true), ''), session_user),
        nullif(current_setting('market_data.reason', true), ''),
        currval('write_ids'),
        old.write_id,
        CASE WHEN NOT stays THEN new.time END,
        session_user
    );
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
