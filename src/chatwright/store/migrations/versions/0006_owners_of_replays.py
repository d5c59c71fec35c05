"""Whose the answers are that are kept for repeating, so that they go with their person."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sa.text("DELETE FROM replays"))  # kept for a day at most; whose they are is not known
    op.add_column("replays", sa.Column("owner", sa.String(40)))


def downgrade() -> None:
    op.drop_column("replays", "owner")
