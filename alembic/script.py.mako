"""${message}

Revision: ${up_revision}
Follows: ${down_revision | comma,n}
Created: ${create_date}

Raw SQL, one statement per `op.execute`; aggregates `WITH NO DATA`; every index and policy argument named; a comment on every
new table, view and column; a downgrade that works. A function is replaced with its whole new text, here and in alembic/sql/.
The upgrade is one transaction that waits at most 5 seconds for a lock, so that a migration never makes the readers of a busy
table wait behind it.
"""

from alembic import op

revision = "${up_revision}"
down_revision = ${'"%s"' % down_revision if down_revision else None}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
