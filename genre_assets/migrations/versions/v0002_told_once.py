"""What is told once: windows know when they were cut and reported, alerts which occasion they told of.

Windows that stand already have been reported; those to come have not.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

UPGRADE = """
ALTER TABLE drift_windows ADD COLUMN IF NOT EXISTS cut_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE drift_windows ADD COLUMN IF NOT EXISTS reported_at timestamptz DEFAULT now();
ALTER TABLE drift_windows ALTER COLUMN reported_at DROP DEFAULT;
ALTER TABLE alerts ADD COLUMN IF NOT EXISTS occasion bigint;
COMMENT ON COLUMN drift_windows.closed_by IS 'full | time | age | switch';
COMMENT ON COLUMN drift_windows.reported_at IS 'since when its materialisation and checks are Dagster''s';
COMMENT ON COLUMN alerts.occasion IS 'number of what it tells of, if that has one: told once, by however many daemons';
"""


def upgrade() -> None:
    """Run the statements."""
    op.execute(UPGRADE)
