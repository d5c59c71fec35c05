"""Chats, their messages, shared links, memories."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "chats",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(40), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("titled", sa.Boolean, nullable=False),
        sa.Column("folded", sa.Text, nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("changed", moment, nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
        sa.Column("archived", sa.Boolean, nullable=False),
        sa.Column("temporary", sa.Boolean, nullable=False),
        sa.Column("expires", moment),
        sa.Column("system", sa.Text, nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("training", sa.Boolean),
        sa.Column("leaf", sa.String(40)),
        sa.PrimaryKeyConstraint("id", name="pk_chats"),
        sa.ForeignKeyConstraint(["owner"], ["people.id"], name="fk_chats_owner", ondelete="CASCADE"),
    )
    op.create_index("ix_chats_owner", "chats", ["owner", "changed"])
    op.create_table(
        "messages",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("chat", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("parent", sa.String(40)),
        sa.Column("turn", sa.String(80), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("folded", sa.Text, nullable=False),
        sa.Column("attachments", sa.Text, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("sampling", sa.Text, nullable=False),
        sa.Column("prompt_hash", sa.String(64), nullable=False),
        sa.Column("completion", sa.String(120)),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("dropped", sa.Integer, nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("ended", moment),
        sa.Column("host", sa.String(80)),
        sa.Column("beat", moment),
        sa.Column("stop", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.ForeignKeyConstraint(["chat"], ["chats.id"], name="fk_messages_chat", ondelete="CASCADE"),
    )
    op.create_index("ix_messages_chat", "messages", ["chat", "number"])
    op.create_index("ix_messages_status", "messages", ["status"])
    op.create_table(
        "shares",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("chat", sa.String(40), nullable=False),
        sa.Column("leaf", sa.String(40), nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_shares"),
        sa.ForeignKeyConstraint(["chat"], ["chats.id"], name="fk_shares_chat", ondelete="CASCADE"),
    )
    op.create_index("ix_shares_chat", "shares", ["chat"])
    op.create_table(
        "memories",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(40), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("chat", sa.String(40)),
        sa.Column("created", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_memories"),
        sa.ForeignKeyConstraint(["owner"], ["people.id"], name="fk_memories_owner", ondelete="CASCADE"),
    )
    op.create_index("ix_memories_owner", "memories", ["owner"])


def downgrade() -> None:
    for table in ("memories", "shares", "messages", "chats"):
        op.drop_table(table)
