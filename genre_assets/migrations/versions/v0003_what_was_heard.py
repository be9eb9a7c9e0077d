"""What was heard, and of whom: the item's address, its format, rate, channels and length, the client's tag, the label set."""

from alembic import op

revision = "0003"
down_revision = "0002"

UPGRADE = """
ALTER TABLE served_requests ADD COLUMN IF NOT EXISTS address text;
ALTER TABLE served_requests ADD COLUMN IF NOT EXISTS format text;
ALTER TABLE served_requests ADD COLUMN IF NOT EXISTS sample_rate int;
ALTER TABLE served_requests ADD COLUMN IF NOT EXISTS channels int;
ALTER TABLE served_requests ADD COLUMN IF NOT EXISTS duration_s real;
ALTER TABLE served_requests ADD COLUMN IF NOT EXISTS label_set text;
ALTER TABLE served_requests ADD COLUMN IF NOT EXISTS tag text;
COMMENT ON COLUMN served_requests.address IS 's3://bucket/key, of an item that was named by it';
COMMENT ON COLUMN served_requests.label_set IS 'version of the label set that the label is of';
"""


def upgrade() -> None:
    """Run the statements."""
    op.execute(UPGRADE)
