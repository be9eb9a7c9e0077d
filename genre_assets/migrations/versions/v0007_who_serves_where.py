"""Replicas of Triton: what all of them are to serve, and what each says that it serves; and the keys that sign releases."""

from alembic import op

revision = "0007"
down_revision = "0006"

UPGRADE = """
CREATE TABLE IF NOT EXISTS replica_wishes (
    generation bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    release text NOT NULL,
    route text NOT NULL,
    has_fallback boolean NOT NULL,
    wanted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at timestamptz,           -- all replicas that live have reported it
    withdrawn_at timestamptz,         -- refused, or not applied in time: what was applied before is wanted again
    why text NOT NULL DEFAULT ''      -- it was withdrawn
);
CREATE TABLE IF NOT EXISTS replicas (
    replica text PRIMARY KEY,
    generation bigint NOT NULL,       -- whose wish it serves; 0: none
    release text,
    route text,
    healthy boolean NOT NULL,
    refused bigint,                   -- generation that it cannot serve
    why text NOT NULL DEFAULT '',
    reported_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS release_keys (
    fingerprint text PRIMARY KEY,
    public_key text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE release_keys IS 'keys that have signed here: while it is empty, releases of before are signed once';
"""


def upgrade() -> None:
    """Run the statements."""
    op.execute(UPGRADE)
