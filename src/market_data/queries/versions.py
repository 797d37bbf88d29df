"""New numbers for commits, in a database that lacks commits which had numbers already."""

from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

# Far above, because nobody knows how many commits the database lacks. Stream events from before are deleted: clients with
# older ids receive a gap. Entity tags are derived from `write_id`.
START_NEW_VERSIONS = """
    DO $$
    BEGIN
        DELETE FROM public.stream_events;
        PERFORM setval('public.write_ids', nextval('public.write_ids') + 1000000000);
        UPDATE public.stream_progress
        SET trimmed_before = setval('public.versions', nextval('public.versions') + 1000000000000) + 1;
        INSERT INTO public.pending_commits (write_id, kind, trade_count)
        VALUES (nextval('public.write_ids'), 'restore', 0);
    END
    $$
"""
"""Let versions and write ids continue above all that were ever assigned."""


async def start_new_versions(connection: AsyncConnection[Any], lost: int) -> None:
    """Let versions continue far above one that the database lacks, unless another process has seen to it."""
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")  # there may be a million events
        await connection.execute("LOCK TABLE stream_commit_lock IN EXCLUSIVE MODE")
        cursor = connection.cursor(row_factory=scalar_row)
        await cursor.execute("SELECT trimmed_before FROM stream_progress")
        trimmed_before = await cursor.fetchone()
        if trimmed_before is not None and trimmed_before <= lost:
            await connection.execute(START_NEW_VERSIONS)
