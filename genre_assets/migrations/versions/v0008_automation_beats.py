"""When each sensor ticked last, as the one that notifies people saw it: so that others can see that automation stands still."""

from alembic import op

revision = "0008"
down_revision = "0007"

UPGRADE = """
CREATE TABLE IF NOT EXISTS automation_beats (
    sensor text PRIMARY KEY,
    ticked_at timestamptz NOT NULL,   -- when its newest tick began
    failed_in_a_row int NOT NULL,     -- of its newest ticks, up to three
    channels int                      -- of the sensor that notifies: to how many channels
);
"""


def upgrade() -> None:
    """Run the statements."""
    op.execute(UPGRADE)
