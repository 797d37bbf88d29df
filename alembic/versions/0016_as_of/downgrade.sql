-- Frozen: part of revision 0016, never edited.

DROP FUNCTION candles_as_of(text, bigint, text, timestamptz, timestamptz);
DROP FUNCTION few_ranges(tstzmultirange);
DROP FUNCTION latest_trades_as_of(bigint, text[]);
DROP FUNCTION trades_as_of(bigint, timestamptz);
DROP FUNCTION past_trades(bigint, bigint[], timestamptz, timestamptz);
DROP FUNCTION writes_as_of(bigint, timestamptz);
DROP FUNCTION version_at(timestamptz);
DROP TRIGGER retention_versioned ON retention;
DROP FUNCTION retention_versioned();

CREATE OR REPLACE FUNCTION number_commit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    this bigint;
    clock bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    committed timestamptz;
    fresh timestamptz;
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
    -- Behind the lock, too: a refresh that began before has set the bound, one that begins later sees the trades.
    fresh := fresh_since();
    IF new.first_fresh < fresh THEN
        INSERT INTO stale_ranges (write_id, since, until)
        VALUES (new.write_id, new.first_fresh, least(new.last_time, fresh - INTERVAL '1 microsecond'));
    END IF;
    IF EXISTS (SELECT FROM stream_events WHERE write_id = new.write_id) THEN
        IF new.first_time < fresh THEN
            WITH late AS (
                UPDATE stream_events
                SET late = true
                WHERE write_id = new.write_id AND kind = 'trade' AND time < fresh AND NOT late
                RETURNING symbol, time
            )
            INSERT INTO stream_late_candles (write_id, symbol, bucket)
            SELECT DISTINCT new.write_id, symbol, time_bucket(INTERVAL '1 minute', time)
            FROM late;
        END IF;
        PERFORM pg_notify('market_data_stream', this::text);
    END IF;
    RETURN NULL;
END
$$;

ALTER TABLE retention DROP COLUMN dropped_version, DROP COLUMN truncated_version;
DROP INDEX commits_overtaken;
ALTER TABLE commits DROP COLUMN newest_write_id, DROP COLUMN newest_time;
DROP SEQUENCE newest_trade_time;
