"""Late trades in every candle within seconds, and corrections in the streams.

Revision: 0013
Follows: 0012

Trades that are newer than every materialized candle leave no stale range, which is decided when they are committed. Stale
ranges are refreshed in the order of their arrival, so that no level waits for the next trade of a finer one. Streams have an
event for each trade that is corrected or cancelled, and one for bulk history.

Executes the frozen files of the folder beside this one, as revision 0012 does.
"""

from pathlib import Path

from alembic import context, op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute("refresh")
    _execute("events")
    _execute("columnstore")


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
