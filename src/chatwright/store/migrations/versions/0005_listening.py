"""What people say of answers, what they allow, and what was taken out to learn from."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("ratings", "flags", "signals", "comparisons", "consents", "exports", "exported", "withdrawals")


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def _owned(table: str, *about: str) -> list[sa.Column | sa.Constraint]:
    """Whose a row is and what it is about; it goes with them."""
    parents = {"person": "people", "chat": "chats"} | dict.fromkeys(about, "messages")
    columns = [sa.Column(name, sa.String(40), nullable=False) for name in parents]
    keys = [
        sa.ForeignKeyConstraint([name], [f"{parent}.id"], name=f"fk_{table}_{name}", ondelete="CASCADE")
        for name, parent in parents.items()
    ]
    return [*columns, *keys, sa.PrimaryKeyConstraint("id", name=f"pk_{table}")]


def _facts() -> list[sa.Column]:
    return [
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("sampling", sa.Text, nullable=False),
        sa.Column("prompt_hash", sa.String(64), nullable=False),
        sa.Column("arm", sa.String(80), nullable=False),
        sa.Column("at", _moment(), nullable=False),
        sa.Column("consent", sa.Boolean, nullable=False),
    ]


def _indexed(table: str) -> None:
    op.create_index(f"ix_{table}_chat", table, ["chat"])
    op.create_index(f"ix_{table}_person", table, ["person", "at"])
    op.create_index(f"ix_{table}_at", table, ["at"])


def upgrade() -> None:
    _said()
    _compared()
    _allowed()
    _taken()


def _said() -> None:
    op.create_table(
        "ratings",
        sa.Column("id", sa.String(40), nullable=False),
        *_facts(),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("newest", sa.Boolean, nullable=False),
        sa.Column("value", sa.Integer, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        *_owned("ratings", "message"),
        sa.UniqueConstraint("message", "person", "number", name="uq_ratings_message"),
    )
    op.create_table(
        "flags",
        sa.Column("id", sa.String(40), nullable=False),
        *_facts(),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("covers", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("settled", _moment()),
        sa.Column("by", sa.String(40)),
        *_owned("flags", "message"),
        sa.UniqueConstraint("message", "person", name="uq_flags_message"),
    )
    op.create_table(
        "signals",
        sa.Column("id", sa.String(40), nullable=False),
        *_facts(),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        *_owned("signals", "message"),
        sa.UniqueConstraint("message", "person", "kind", name="uq_signals_message"),
    )
    for table in ("ratings", "flags", "signals"):
        _indexed(table)


def _compared() -> None:
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(40), nullable=False),
        *_facts(),
        sa.Column("other_model", sa.String(200), nullable=False),
        sa.Column("other_version", sa.String(200), nullable=False),
        sa.Column("other_sampling", sa.Text, nullable=False),
        sa.Column("how", sa.String(20), nullable=False),
        sa.Column("asked", _moment(), nullable=False),
        sa.Column("choice", sa.String(20)),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        *_owned("comparisons", "left", "right"),
        sa.UniqueConstraint("left", name="uq_comparisons_left"),
        sa.UniqueConstraint("right", name="uq_comparisons_right"),
    )
    _indexed("comparisons")


def _allowed() -> None:
    op.create_table(
        "consents",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("person", sa.String(40), nullable=False),
        sa.Column("chat", sa.String(40)),
        sa.Column("training", sa.Boolean),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("at", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_consents"),
    )
    op.create_index("ix_consents_person", "consents", ["person"])


def _taken() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("filters", sa.Text, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("at", _moment(), nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
    )
    op.create_index("ix_exports_at", "exports", ["at"])
    op.create_table(
        "exported",
        sa.Column("export", sa.String(40), nullable=False),
        sa.Column("row", sa.String(80), nullable=False),
        sa.Column("person", sa.String(40)),
        sa.Column("chat", sa.String(40)),
        sa.PrimaryKeyConstraint("export", "row", name="pk_exported"),
        sa.ForeignKeyConstraint(["export"], ["exports.id"], name="fk_exported_export", ondelete="CASCADE"),
    )
    op.create_index("ix_exported_person", "exported", ["person"])
    op.create_table(
        "withdrawals",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("person", sa.String(40), nullable=False),
        sa.Column("chat", sa.String(40)),
        sa.Column("why", sa.String(40), nullable=False),
        sa.Column("rows", sa.Text, nullable=False),
        sa.Column("artefacts", sa.Text, nullable=False),
        sa.Column("at", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_withdrawals"),
    )
    op.create_index("ix_withdrawals_at", "withdrawals", ["at"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
