"""Keys of the gateway: who may ask for what, how often, how much."""

from alembic import op

revision = "0006"
down_revision = "0005"

UPGRADE = """
CREATE TABLE IF NOT EXISTS api_keys (
    name text PRIMARY KEY,
    hash text NOT NULL UNIQUE,        -- SHA-256 of the key, which is 256 random bits and kept nowhere
    scopes text NOT NULL,             -- separated by spaces
    per_minute int,                   -- requests; null: as many as come
    max_mb float8,                    -- of one request; null: what the server takes
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    revoked_at timestamptz,
    used_at timestamptz               -- to the minute
);
"""


def upgrade() -> None:
    """Run the statements."""
    op.execute(UPGRADE)
