"""What writing over HTTP needs: symbols that can be switched off, and a trail of every change of a trade.

Revision: 0007
Follows: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Whoever stores trades shares the rows of their symbols, whoever changes one has its symbol's for itself: so each sees what
# the other has done before it looks for the newest trade. Not the rows of newest_trades, which are deleted and made anew.
# In the order of the symbols, and in a statement of its own, whose successor sees what has been committed meanwhile.
SHARE_SYMBOLS = """
            PERFORM 1 FROM symbols WHERE symbol IN (SELECT symbol FROM stored) ORDER BY symbol FOR KEY SHARE;"""
HOLD_SYMBOLS = """
            PERFORM 1 FROM symbols WHERE symbol IN (old.symbol, new.symbol) ORDER BY symbol FOR UPDATE;"""


def upgrade() -> None:
    op.execute("ALTER TABLE symbols ADD COLUMN active boolean NOT NULL DEFAULT true")
    _comment(
        "COLUMN symbols.active",
        "Whether trades of it are taken over HTTP and from the feed. What is stored stays, and can be asked for.",
    )
    _create_changes()
    _audit()
    _replace_trades_stored(SHARE_SYMBOLS)
    _replace_trades_changed(HOLD_SYMBOLS)


def downgrade() -> None:
    _replace_trades_changed("")
    _replace_trades_stored("")
    op.execute("DROP TRIGGER trades_audited ON trades")
    op.execute("DROP FUNCTION trades_audited()")
    op.execute("DROP TABLE trade_changes")
    op.execute("ALTER TABLE symbols DROP COLUMN active")


def _create_changes() -> None:
    op.execute("""
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
            CONSTRAINT trade_changes_pkey PRIMARY KEY (id),
            CONSTRAINT trade_changes_action_known CHECK (action IN ('cancel', 'correct')),
            CONSTRAINT trade_changes_cancel_has_no_after
                CHECK ((action = 'cancel') = (price_after IS NULL) AND (action = 'cancel') = (volume_after IS NULL))
        )
    """)
    op.execute("CREATE INDEX trade_changes_of_trade ON trade_changes (symbol, time, trade_id, id)")
    _comment(
        "TABLE trade_changes",
        "The trail of trades that were cancelled (deleted) or corrected (updated), by whomever: kept by a trigger. What "
        "retention drops is no change.",
    )
    _comment("COLUMN trade_changes.id", "In the order of the changes of a trade.")
    _comment("SEQUENCE trade_changes_id_seq", "Numbers of trade_changes.")
    _comment("COLUMN trade_changes.changed_at", "When the transaction of the change began.")
    _comment(
        "COLUMN trade_changes.action",
        "cancel: was deleted, or given another identity; correct: got another price or volume.",
    )
    _comment("COLUMN trade_changes.symbol", "What was traded.")
    _comment("COLUMN trade_changes.time", "When the trade happened.")
    _comment("COLUMN trade_changes.trade_id", "Its number within symbol and instant.")
    _comment("COLUMN trade_changes.price_before", "Price of one unit before the change.")
    _comment("COLUMN trade_changes.volume_before", "Units traded before the change.")
    _comment("COLUMN trade_changes.price_after", "Price of one unit since; null for a cancel.")
    _comment("COLUMN trade_changes.volume_after", "Units traded since; null for a cancel.")
    _comment("COLUMN trade_changes.actor", "Who did it: the name of the key, or the role that was connected.")
    _comment("COLUMN trade_changes.reason", "Why, where that was said.")


def _audit() -> None:
    op.execute("""
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
                action, symbol, time, trade_id, price_before, volume_before, price_after, volume_after, actor, reason
            )
            VALUES (
                CASE WHEN stays THEN 'correct' ELSE 'cancel' END,
                old.symbol, old.time, old.trade_id, old.price, old.volume,
                CASE WHEN stays THEN new.price END,
                CASE WHEN stays THEN new.volume END,
                coalesce(nullif(current_setting('market_data.actor', true), ''), session_user),
                nullif(current_setting('market_data.reason', true), '')
            );
            RETURN NULL;
        END
        $$
    """)
    # Row by row, as trades_changed, and for the same reason.
    op.execute("""
        CREATE TRIGGER trades_audited
        AFTER UPDATE OR DELETE ON trades
        FOR EACH ROW EXECUTE FUNCTION trades_audited()
    """)
    op.execute("REVOKE EXECUTE ON FUNCTION trades_audited() FROM PUBLIC")
    _comment(
        "FUNCTION trades_audited()",
        "After UPDATE and DELETE: writes trade_changes, with the settings market_data.actor and market_data.reason.",
    )


def _replace_trades_stored(lock: str) -> None:
    """As it was in 0002, with a lock before it looks at newest_trades."""
    op.execute(f"""
        CREATE OR REPLACE FUNCTION trades_stored() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        AS $$
        DECLARE
            oldest timestamptz;
            horizon timestamptz;
        BEGIN
            SELECT min(time) INTO oldest FROM stored;
            IF oldest < now() - INTERVAL '1 day' THEN
                horizon := retention_horizon();
                IF oldest < horizon THEN
                    RAISE check_violation USING
                        MESSAGE = format('a trade at %s is older than the retention horizon, %s', oldest, horizon),
                        DETAIL = 'The other trades of its candle have been dropped.',
                        TABLE = 'trades', CONSTRAINT = 'trades_within_retention';
                END IF;
            END IF;
            INSERT INTO stale_ranges (since, until)
            SELECT min(time), max(time)
            FROM stored
            GROUP BY time_bucket(INTERVAL '1 hour', time);{lock}
            INSERT INTO newest_trades AS known (symbol, time, trade_id, price, volume)
            SELECT newest.symbol, newest.time, newest.trade_id, newest.price, newest.volume
            FROM (
                SELECT DISTINCT ON (symbol) symbol, time, trade_id, price, volume
                FROM stored
                ORDER BY symbol, time DESC, trade_id DESC
            ) AS newest
            LEFT JOIN newest_trades AS before USING (symbol)
            WHERE before.symbol IS NULL OR (newest.time, newest.trade_id) > (before.time, before.trade_id)
            ORDER BY newest.symbol
            ON CONFLICT (symbol) DO UPDATE
            SET time = excluded.time, trade_id = excluded.trade_id, price = excluded.price, volume = excluded.volume
            WHERE (excluded.time, excluded.trade_id) > (known.time, known.trade_id);
            RETURN NULL;
        END
        $$
    """)


def _replace_trades_changed(lock: str) -> None:
    """Likewise."""
    op.execute(f"""
        CREATE OR REPLACE FUNCTION trades_changed() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        AS $$
        BEGIN{lock}
            INSERT INTO stale_ranges (since, until) VALUES (old.time, old.time);
            DELETE FROM newest_trades
            WHERE symbol = old.symbol AND time = old.time AND trade_id = old.trade_id;
            IF FOUND THEN
                INSERT INTO newest_trades (symbol, time, trade_id, price, volume)
                SELECT symbol, time, trade_id, price, volume
                FROM trades
                WHERE symbol = old.symbol
                ORDER BY time DESC, trade_id DESC
                LIMIT 1;
            END IF;
            IF TG_OP = 'UPDATE' THEN
                INSERT INTO stale_ranges (since, until) VALUES (new.time, new.time);
                INSERT INTO newest_trades AS known (symbol, time, trade_id, price, volume)
                VALUES (new.symbol, new.time, new.trade_id, new.price, new.volume)
                ON CONFLICT (symbol) DO UPDATE
                SET time = excluded.time, trade_id = excluded.trade_id, price = excluded.price, volume = excluded.volume
                WHERE (excluded.time, excluded.trade_id) >= (known.time, known.trade_id);
            END IF;
            RETURN NULL;
        END
        $$
    """)


def _comment(what: str, text: str) -> None:
    op.execute(f"COMMENT ON {what} IS '{text}'".replace(":", r"\:"))
