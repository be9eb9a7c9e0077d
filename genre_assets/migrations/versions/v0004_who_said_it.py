"""Labels know who gave them and which content they are of; labelled clips of clients have their copies on record.

Labels of before are by `unknown`, and give way when their file is taken again. A drift run of the version before, which
knows one label an item, ends with an error once the key is another; the next one takes the file.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

UPGRADE = """
ALTER TABLE served_labels ADD COLUMN IF NOT EXISTS labelled_by text NOT NULL DEFAULT 'unknown';
ALTER TABLE served_labels ADD COLUMN IF NOT EXISTS file text;
ALTER TABLE served_labels ADD COLUMN IF NOT EXISTS fingerprint text;
ALTER TABLE served_labels ADD COLUMN IF NOT EXISTS address text;
ALTER TABLE served_labels ADD COLUMN IF NOT EXISTS tag text;
ALTER TABLE served_labels ADD COLUMN IF NOT EXISTS answered_at timestamptz;
ALTER TABLE served_labels DROP CONSTRAINT IF EXISTS served_labels_pkey;
ALTER TABLE served_labels ADD CONSTRAINT served_labels_pkey PRIMARY KEY (request_id, item, labelled_by);
COMMENT ON COLUMN served_labels.file IS 'key of the label file that said it last';
COMMENT ON COLUMN served_labels.fingerprint IS 'of the content, as this and the next three were logged: they outlive the log';
CREATE INDEX IF NOT EXISTS served_requests_request_id ON served_requests (request_id);
CREATE TABLE IF NOT EXISTS training_clips (
    fingerprint text NOT NULL,        -- SHA-256 of the content
    label text NOT NULL,
    key text,                         -- in the raw bucket; null while it is not known where to
    ours boolean NOT NULL DEFAULT true,  -- a copy made for this label, not a file that was in the bucket before
    request_id text NOT NULL,
    item int NOT NULL,
    problem text,                     -- why it is not in the raw bucket
    done_at timestamptz,              -- since when it is
    PRIMARY KEY (fingerprint, label)
);
"""


def upgrade() -> None:
    """Run the statements."""
    op.execute(UPGRADE)
