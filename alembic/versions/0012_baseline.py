"""The baseline: the whole schema.

Revision: 0012
Follows: nothing. Databases of older revisions are refused (see `market_data` on start-up); nothing had been released.

Executes the frozen files of the folder beside this one, which say what each table and function is for. They are sent as they
are, each in one go: they are full of colons and percent signs, which are no parameters.
"""

from pathlib import Path

from alembic import context, op

revision = "0012"
down_revision = None
branch_labels = None
depends_on = None

FILES = ("trades", "commits", "candles", "refresh_candles", "retention", "stream", "audit", "api_keys", "analyst")


def upgrade() -> None:
    for name in FILES:
        _execute(name)


def downgrade() -> None:
    _execute("downgrade")


def _execute(name: str) -> None:
    text = Path(__file__).with_suffix("").joinpath(f"{name}.sql").read_text("utf-8")
    if context.is_offline_mode():
        op.get_context().impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
