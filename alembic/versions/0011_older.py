"""Trades older than all others: their candles are refreshed, though refresh_candles was running when they came.

Revision: 0011
Follows: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# What is stale before the oldest chunk is let be, for its trades have been dropped. Which chunk is the oldest was asked when
# the run began: ranges of trades that had an older one made since were forgotten, and their candles wrong for ever.
LOOP = "FOREACH gap IN ARRAY ARRAY("
ASKED_AGAIN = f"""IF step = 1 THEN
                    SELECT greatest(min(c.range_start), (SELECT r.dropped_before FROM public.retention AS r))
                    INTO origin
                    FROM timescaledb_information.chunks AS c
                    WHERE c.hypertable_schema = 'public' AND c.hypertable_name = 'trades';
                END IF;
                {LOOP}"""


def upgrade() -> None:
    _rewrite(LOOP, ASKED_AGAIN)
    _find_forgotten()


def downgrade() -> None:
    _rewrite(ASKED_AGAIN, LOOP)


def _find_forgotten() -> None:
    """Have refreshed what the candles of minutes have forgotten: all of a chunk whose trades they do not count."""
    op.execute("""
        INSERT INTO stale_ranges (since, until)
        SELECT chunk.range_start, chunk.range_end - INTERVAL '1 microsecond'
        FROM timescaledb_information.chunks AS chunk
        WHERE chunk.hypertable_schema = 'public' AND chunk.hypertable_name = 'trades' AND (
            SELECT count(*) FROM trades WHERE time >= chunk.range_start AND time < chunk.range_end
        ) <> (
            SELECT coalesce(sum(trade_count), 0)
            FROM candles_1m
            WHERE bucket >= chunk.range_start AND bucket < chunk.range_end
        )
    """)


def _rewrite(before: str, after: str) -> None:
    """Change a part of refresh_candles(), which must be there."""
    old, new = (part.replace(":=", r"\:=") for part in (before, after))
    op.execute(f"""
        DO $do$
        DECLARE
            text constant text \\:= pg_get_functiondef('refresh_candles(integer, jsonb)'::regprocedure);
        BEGIN
            ASSERT strpos(text, $part${old}$part$) > 0, 'what is to be changed is not there';
            EXECUTE replace(text, $part${old}$part$, $part${new}$part$);
        END
        $do$
    """)
