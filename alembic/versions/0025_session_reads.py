"""Candles of given buckets are read in slices.

Revision: 0025
Follows: 0024

Candles of sessions are read by the starts of the stored candles that they consist of. In the columnstore each row is
compared with each of these times, so only a slice of them is looked for at once: 262 minutes of a year take 1.8 ms in the
rowstore and 22 ms in the columnstore; all of them at once take 1.4 and 38 ms, hashed as by candle_minutes() 67 and 23 ms.
No service uses that function any more, so the next revision may drop it.

Executes the frozen files of the folder beside this one, as revision 0012 does.
"""

from pathlib import Path

from alembic import context, op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute("session_reads")


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
