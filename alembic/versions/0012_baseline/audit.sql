-- Frozen: part of revision 0012, never edited. The present text of functions and views is in alembic/sql/.
-- Audit trail of corrected and cancelled trades.

CREATE TABLE trade_changes (
    id bigint GENERATED ALWAYS AS IDENTITY,
    changed_at timestamptz NOT NULL DEFAULT now(),
    action text NOT NULL,
    symbol text NOT NULL,
    time timestamptz NOT NULL,
    trade_id bigint NOT NULL,
    price_before numeric NOT NULL,
    volume_before numeric NOT NULL,
    price_after numeric,
    volume_after numeric,
    actor text NOT NULL,
    reason text,
    write_id bigint NOT NULL,
    write_id_before bigint NOT NULL,
    moved_to timestamptz,
    CONSTRAINT trade_changes_pkey PRIMARY KEY (id),
    CONSTRAINT trade_changes_action_known CHECK (action IN ('cancel', 'correct')),
    CONSTRAINT trade_changes_cancel_has_no_after
        CHECK ((action = 'cancel') = (price_after IS NULL) AND (action = 'cancel') = (volume_after IS NULL)),
    CONSTRAINT trade_changes_moved_is_cancel CHECK (moved_to IS NULL OR action = 'cancel')
);
CREATE INDEX trade_changes_of_trade ON trade_changes (symbol, time, trade_id, id);
CREATE INDEX trade_changes_of_write ON trade_changes (write_id);

COMMENT ON TABLE trade_changes IS
    'Audit trail of trades that were cancelled (deleted) or corrected (updated) by any client, written by a trigger. Trades '
    'dropped by retention are not in it.';
COMMENT ON COLUMN trade_changes.id IS 'Id, in the order of the changes of a trade.';
COMMENT ON SEQUENCE trade_changes_id_seq IS 'Ids of trade_changes.';
COMMENT ON COLUMN trade_changes.changed_at IS 'Start of the transaction that changed the trade.';
COMMENT ON COLUMN trade_changes.action IS
    'cancel: the trade was deleted, or got another symbol, time or trade_id; correct: it got another price or volume.';
COMMENT ON COLUMN trade_changes.symbol IS 'Traded symbol.';
COMMENT ON COLUMN trade_changes.time IS 'Time of the trade.';
COMMENT ON COLUMN trade_changes.trade_id IS 'Id of the trade within its symbol and time.';
COMMENT ON COLUMN trade_changes.price_before IS 'Price of one unit before the change.';
COMMENT ON COLUMN trade_changes.volume_before IS 'Units traded before the change.';
COMMENT ON COLUMN trade_changes.price_after IS 'Price of one unit after the change; null for a cancel.';
COMMENT ON COLUMN trade_changes.volume_after IS 'Units traded after the change; null for a cancel.';
COMMENT ON COLUMN trade_changes.actor IS 'Name of the API key that was used, or of the connected role.';
COMMENT ON COLUMN trade_changes.reason IS 'Reason, if one was given.';
COMMENT ON COLUMN trade_changes.write_id IS 'Statement that changed the trade; commits says when it was committed.';
COMMENT ON COLUMN trade_changes.write_id_before IS 'trades.write_id before the change: the statement that wrote the values before.';
COMMENT ON COLUMN trade_changes.moved_to IS
    'Time of the trade after the change, if it got another symbol, time or trade_id; null if it was deleted or corrected.';

CREATE FUNCTION trades_audited() RETURNS trigger
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
        write_id, write_id_before, moved_to
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
        CASE WHEN NOT stays THEN new.time END
    );
    RETURN NULL;
END
$$;

-- Row by row, for the same reason as trades_changed.
CREATE TRIGGER trades_audited
AFTER UPDATE OR DELETE ON trades
FOR EACH ROW EXECUTE FUNCTION trades_audited();

COMMENT ON FUNCTION trades_audited() IS
    'After UPDATE and DELETE, for each trade: writes trade_changes, with the settings market_data.actor and market_data.reason.';

CREATE FUNCTION trades_recorded() RETURNS trigger
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

CREATE TRIGGER trades_recorded
AFTER UPDATE OR DELETE ON trades
FOR EACH STATEMENT EXECUTE FUNCTION trades_recorded();

COMMENT ON FUNCTION trades_recorded() IS
    'After UPDATE and DELETE: records the commit, unless the statement has changed no trade.';

REVOKE EXECUTE ON FUNCTION trades_audited(), trades_recorded() FROM PUBLIC;
