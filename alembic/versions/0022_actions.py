"""Corporate actions, and the candles that they adjust.

Revision: 0022
Follows: 0021

Actions are rows with the statement that recorded them and the one that ended them, so that reads as of a version know the
actions of that version. A stored trade is never rewritten: prices are adjusted when they are read.

Executes the frozen files of the folder beside this one, as revision 0012 does.
"""

from pathlib import Path

from alembic import context, op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute("actions")


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
