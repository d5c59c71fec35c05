"""Artefacts, their parents, aliases and the history of aliases."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "artefacts",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("manifest", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artefacts"),
    )
    op.create_index("ix_artefacts_created", "artefacts", ["created"])
    op.create_table(
        "parents",
        sa.Column("child", sa.String(80), nullable=False),
        sa.Column("role", sa.String(80), nullable=False),
        sa.Column("parent", sa.String(80), nullable=False),
        sa.PrimaryKeyConstraint("child", "role", name="pk_parents"),
        sa.ForeignKeyConstraint(["child"], ["artefacts.id"], name="fk_parents_child", ondelete="CASCADE"),
    )
    op.create_index("ix_parents_parent", "parents", ["parent"])
    op.create_table(
        "aliases",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("artefact", sa.String(80), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_aliases"),
        sa.ForeignKeyConstraint(["artefact"], ["artefacts.id"], name="fk_aliases_artefact", ondelete="RESTRICT"),
    )
    op.create_table(
        "alias_changes",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("old", sa.String(80)),
        sa.Column("new", sa.String(80), nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alias_changes"),
    )
    op.create_index("ix_alias_changes_name", "alias_changes", ["name"])


def downgrade() -> None:
    for table in ("alias_changes", "aliases", "parents", "artefacts"):
        op.drop_table(table)
