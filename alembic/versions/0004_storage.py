"""Old trades and fine candles in the columnstore, and trades kept only as long as the operator wants.

Revision: 0004
Follows: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# What goes into the columnstore, in which order within a symbol, and once its chunk is how old. All of it is older than
# the 3 hours that refresh_candles goes over again and again; a late trade still finds its place there.
COLUMNSTORE = (
    ("TABLE trades", "time DESC, trade_id DESC", "7 days"),
    ("MATERIALIZED VIEW candles_1m", "bucket DESC", "30 days"),
    ("MATERIALIZED VIEW candles_5m", "bucket DESC", "90 days"),
    ("MATERIALIZED VIEW candles_15m", "bucket DESC", "90 days"),
)


def upgrade() -> None:
    # TimescaleDB 2.23 has a columnstore policy follow a refresh policy, which candles_1m does without.
    op.execute("""
        SELECT add_continuous_aggregate_policy(
            'candles_1m',
            start_offset => INTERVAL '3 hours',
            end_offset => INTERVAL '1 minute',
            schedule_interval => INTERVAL '1 minute'
        )
    """)
    for relation, order, after in COLUMNSTORE:
        op.execute(f"""
            ALTER {relation} SET (
                timescaledb.enable_columnstore,
                timescaledb.segmentby = 'symbol',
                timescaledb.orderby = '{order}'
            )
        """)
        op.execute(f"""
            CALL add_columnstore_policy(
                '{_name(relation)}',
                after => INTERVAL '{after}',
                schedule_interval => INTERVAL '1 hour'
            )
        """)
    op.execute("SELECT remove_continuous_aggregate_policy('candles_1m')")
    _create_retention()


def downgrade() -> None:
    op.execute("DROP PROCEDURE set_retention(interval)")
    op.execute("SELECT delete_job(job_id) FROM timescaledb_information.jobs WHERE proc_name = 'drop_old_trades'")
    op.execute("DROP PROCEDURE drop_old_trades(integer, jsonb)")
    for relation, _, _ in COLUMNSTORE:
        op.execute(f"CALL remove_columnstore_policy('{_name(relation)}')")
        op.execute(f"SELECT decompress_chunk(chunk, if_compressed => true) FROM show_chunks('{_name(relation)}') AS chunk")
        op.execute(f"ALTER {relation} SET (timescaledb.enable_columnstore = false)")


def _create_retention() -> None:
    # Not TimescaleDB's own retention policy, which looks at the age of chunks only: it would also drop trades whose
    # candles no refresh has reached yet, after a long pause for example, and leave no record of what is gone.
    op.execute("""
        CREATE PROCEDURE drop_old_trades(job_id integer DEFAULT NULL, config jsonb DEFAULT NULL)
        LANGUAGE plpgsql
        AS $$
        DECLARE
            bound timestamptz;
        BEGIN
            IF (SELECT drop_after FROM public.retention) IS NULL THEN
                RETURN;
            END IF;
            -- Whoever stores a trade meanwhile has it either noted in stale_ranges before, or refused after.
            SET LOCAL lock_timeout = '5s';
            LOCK TABLE public.trades IN SHARE ROW EXCLUSIVE MODE;
            SELECT max(range_end)
            INTO bound
            FROM timescaledb_information.chunks
            WHERE hypertable_schema = 'public' AND hypertable_name = 'trades' AND range_end <= least(
                (SELECT now() - drop_after FROM public.retention),
                coalesce(public.candles_watermark('1m'), '-infinity'),
                (SELECT min(since) FROM public.stale_ranges)
            );
            IF bound IS NOT NULL THEN
                UPDATE public.retention SET dropped_before = greatest(dropped_before, bound);
                PERFORM public.drop_chunks('public.trades', older_than => bound);
            END IF;
        END
        $$
    """)
    op.execute("SELECT add_job('drop_old_trades', schedule_interval => INTERVAL '1 hour', scheduled => false)")
    op.execute("""
        CREATE PROCEDURE set_retention(drop_after interval)
        LANGUAGE plpgsql
        AS $$
        BEGIN
            UPDATE public.retention AS r SET drop_after = set_retention.drop_after;
            PERFORM public.alter_job(j.job_id, scheduled => set_retention.drop_after IS NOT NULL, next_start => now())
            FROM timescaledb_information.jobs AS j
            WHERE j.proc_schema = 'public' AND j.proc_name = 'drop_old_trades';
        END
        $$
    """)
    op.execute("REVOKE EXECUTE ON PROCEDURE drop_old_trades(integer, jsonb), set_retention(interval) FROM PUBLIC")
    _comment(
        "PROCEDURE drop_old_trades(integer, jsonb)",
        "Drops the chunks of trades that are wholly older than retention.drop_after and materialized in candles_1m. A job "
        "runs it every hour, once retention is set.",
    )
    _comment(
        "PROCEDURE set_retention(interval)",
        "From now on keeps trades for as long, 8 days or more; null keeps them for ever. Candles stay.",
    )


def _name(relation: str) -> str:
    return relation.rpartition(" ")[2]


def _comment(what: str, text: str) -> None:
    op.execute(f"COMMENT ON {what} IS '{text}'")
