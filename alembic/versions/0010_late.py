"""Many late trades: which of their candles have been refreshed is found in one pass over them.

Revision: 0010
Follows: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Each late candle was compared with each stale range: a month of late minutes took half a second of every second of a
# server, and froze the embedded engine until they were refreshed. Of a multirange it takes a binary search.
COMPARED = """WHERE NOT EXISTS (
                        SELECT FROM stale_ranges
                        WHERE since < late.bucket + INTERVAL '1 minute' AND until >= late.bucket
                    )"""
SEARCHED = """WHERE NOT tstzrange(late.bucket, late.bucket + INTERVAL '1 minute') && (
                        SELECT coalesce(range_agg(tstzrange(since, until, '[]')), '{}')
                        FROM stale_ranges
                    )"""


def upgrade() -> None:
    _rewrite(COMPARED, SEARCHED)


def downgrade() -> None:
    _rewrite(SEARCHED, COMPARED)


def _rewrite(before: str, after: str) -> None:
    """Change a part of advance_stream(), which must be there."""
    op.execute(f"""
        DO $do$
        DECLARE
            text constant text \\:= pg_get_functiondef('advance_stream()'::regprocedure);
        BEGIN
            ASSERT strpos(text, $part${before}$part$) > 0, 'what is to be changed is not there';
            EXECUTE replace(text, $part${before}$part$, $part${after}$part$);
        END
        $do$
    """)
