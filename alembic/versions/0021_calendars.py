"""Attributes of symbols (type, tick size, dates), and the calendars of their trading sessions.

Revision: 0021
Follows: 0020

Sessions are rows with the statement that added them and the one that ended them, as trades have, so that reads as of a
version have the sessions of that version. A change of them is a commit of kind `reference`.

Executes the frozen files of the folder beside this one, as revision 0012 does.
"""

from pathlib import Path

from alembic import context, op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute("calendars")


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
