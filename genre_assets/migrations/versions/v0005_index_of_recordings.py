"""The index of recordings: derived from the inventories in the object store, and made anew from them whenever it is behind."""

from alembic import op

revision = "0005"
down_revision = "0004"

UPGRADE = """
CREATE TABLE IF NOT EXISTS recording_labels (
    label text PRIMARY KEY,
    claim text NOT NULL               -- name of the inventory that the index holds; empty while it is behind
);
CREATE TABLE IF NOT EXISTS recording_index (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version text NOT NULL,            -- of the acoustic fingerprint, and the bucket
    paired boolean NOT NULL           -- false while pairs are to be found anew
);
CREATE TABLE IF NOT EXISTS recording_files (
    label text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,        -- SHA-256 of the bytes
    recording text NOT NULL,          -- named by the file's own sound
    signature bytea NOT NULL,         -- the acoustic fingerprint
    PRIMARY KEY (label, key)
);
CREATE INDEX IF NOT EXISTS recording_files_fingerprint ON recording_files (fingerprint);
CREATE TABLE IF NOT EXISTS recordings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL UNIQUE,
    label text NOT NULL,              -- of the first file that has these bytes
    key text NOT NULL,
    due boolean NOT NULL DEFAULT true -- the verdicts on its files are to be settled
);
CREATE INDEX IF NOT EXISTS recordings_due ON recordings (id) WHERE due;
CREATE TABLE IF NOT EXISTS recording_bands (
    band int NOT NULL,                -- two words of the signature
    recording int NOT NULL,
    frame int NOT NULL,               -- where they stand in it
    PRIMARY KEY (band, recording, frame)
);
CREATE TABLE IF NOT EXISTS recording_pairs (
    a int NOT NULL,                   -- two that are the same recording, a < b
    b int NOT NULL,
    PRIMARY KEY (a, b)
);
CREATE INDEX IF NOT EXISTS recording_pairs_b ON recording_pairs (b);
"""


def upgrade() -> None:
    """Run the statements."""
    op.execute(UPGRADE)
