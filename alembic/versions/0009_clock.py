"""A clock that is put back: what was materialized and told ahead of it is made up for.

Revision: 0009
Follows: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

Change = tuple[str, str]

REFRESH = "refresh_candles(integer, jsonb)"
# Candles up to the watermark are materialized, even where by the clock they have not closed yet: to forget that they are
# stale is to have them wrong for ever.
MINUTES = (
    "closed := public.time_bucket(buckets[1], now() - buckets[1]);",
    "closed := greatest(public.time_bucket(buckets[1], now() - buckets[1]), public.candles_watermark(intervals[1]));",
)
# A level may be materialized further than the minutes are, by its own policy: what is stale below any watermark is kept.
FORGOTTEN = (
    "DELETE FROM public.stale_ranges AS s WHERE s.level = 1 AND s.since >= closed;",
    "DELETE FROM public.stale_ranges AS s WHERE s.level = 1 AND s.since >= greatest("
    "closed, (SELECT max(public.candles_watermark(i)) FROM unnest(intervals) AS i));",
)
LEVELS = (
    "closed := public.time_bucket(bucket, now() - bucket);",
    "closed := greatest(public.time_bucket(bucket, now() - bucket), public.candles_watermark(intervals[step]));",
)

ADVANCE = "advance_stream()"
# Closings that were told an hour too early are told once more; until then candles are not closed.
NOTHING_CLOSED = ("before >= closed AND", "before BETWEEN closed AND closed + INTERVAL '1 minute' AND")
CLOSED = ("IF before < closed THEN", "IF before NOT BETWEEN closed AND closed + INTERVAL '1 minute' THEN")


def upgrade() -> None:
    _rewrite(REFRESH, MINUTES, FORGOTTEN, LEVELS)
    _rewrite(ADVANCE, NOTHING_CLOSED, CLOSED)


def downgrade() -> None:
    _rewrite(ADVANCE, *map(_undone, (NOTHING_CLOSED, CLOSED)))
    _rewrite(REFRESH, *map(_undone, (MINUTES, FORGOTTEN, LEVELS)))


def _undone(change: Change) -> Change:
    before, after = change
    return after, before


def _rewrite(function: str, *changes: Change) -> None:
    """Change parts of a function's text, each of which must be there."""
    for before, after in changes:
        old, new = (part.replace(":=", r"\:=") for part in (before, after))
        op.execute(f"""
            DO $do$
            DECLARE
                text constant text \\:= pg_get_functiondef('{function}'::regprocedure);
            BEGIN
                ASSERT strpos(text, $part${old}$part$) > 0, 'what is to be changed is not there';
                EXECUTE replace(text, $part${old}$part$, $part${new}$part$);
            END
            $do$
        """)
