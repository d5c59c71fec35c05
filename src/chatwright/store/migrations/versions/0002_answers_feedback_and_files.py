"""Answers given through the API, what people said of them, uploaded files, idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "completions",
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("prompt_hash", sa.String(64), nullable=False),
        sa.Column("sampling", sa.Text, nullable=False),
        sa.Column("content", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_completions"),
    )
    op.create_index("ix_completions_created", "completions", ["created"])
    op.create_table(
        "feedback",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("completion", sa.String(120), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("prompt_hash", sa.String(64), nullable=False),
        sa.Column("sampling", sa.Text, nullable=False),
        sa.Column("consent", sa.Boolean, nullable=False),
        sa.Column("row", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
        sa.ForeignKeyConstraint(["completion"], ["completions.id"], name="fk_feedback_completion", ondelete="RESTRICT"),
    )
    op.create_index("ix_feedback_completion", "feedback", ["completion"])
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
    )
    op.create_index("ix_uploads_created", "uploads", ["created"])
    op.create_table(
        "replays",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("headers", sa.Text),
        sa.Column("body", sa.LargeBinary),
        sa.PrimaryKeyConstraint("key", name="pk_replays"),
    )
    op.create_index("ix_replays_created", "replays", ["created"])


def downgrade() -> None:
    for table in ("replays", "uploads", "feedback", "completions"):
        op.drop_table(table)
