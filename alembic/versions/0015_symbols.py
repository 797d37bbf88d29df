"""Symbols as other systems write them, and symbols whose prices may be zero or negative.

Revision: 0015
Follows: 0014

The form of a symbol has spaces and more punctuation, at most 64 characters. The check that a price is greater than 0 moves
from a constraint to the triggers of trades, which look up if the symbol is signed.

Executes the frozen files of the folder beside this one, as revision 0012 does.
"""

from pathlib import Path

from alembic import context, op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _execute("symbols")


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
