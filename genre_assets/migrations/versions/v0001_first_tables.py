"""The tables of the first version. It made them itself and kept no number: where they stand, nothing is done."""

from alembic import op

revision = "0001"
down_revision = None

UPGRADE = """
CREATE TABLE IF NOT EXISTS audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    subject text NOT NULL,            -- champion | fallback | route
    moved_from text,
    moved_to text NOT NULL,
    actor text NOT NULL,              -- a person, or the part of the platform that acted
    reason text NOT NULL,
    evidence jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE IF NOT EXISTS served_requests (
    id uuid NOT NULL,                 -- of the item; the same for a retry under the same request id
    ts timestamptz NOT NULL,
    request_id text NOT NULL,
    item int NOT NULL,                -- place in the request
    fingerprint text,                 -- SHA-256 of the audio file
    model text NOT NULL,              -- family
    version int NOT NULL,
    route text NOT NULL,              -- champion | fallback
    label text,
    confidence real,
    probabilities real[],
    features real[],                  -- of the item's middle segment
    feature_set text NOT NULL,
    feature_set_version text NOT NULL,
    error_code text,
    error text,
    decode_ms real NOT NULL,
    extract_ms real NOT NULL,
    predict_ms real NOT NULL,
    PRIMARY KEY (id, ts)
) PARTITION BY RANGE (ts);
CREATE INDEX IF NOT EXISTS served_requests_ts ON served_requests (ts);
CREATE TABLE IF NOT EXISTS served_labels (
    request_id text NOT NULL,
    item int NOT NULL,
    genre text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request_id, item)
);
CREATE TABLE IF NOT EXISTS label_files (
    key text PRIMARY KEY,
    etag text NOT NULL,
    labels int NOT NULL,
    problem text,
    taken_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS drift_windows (
    id text PRIMARY KEY,
    route text NOT NULL,
    version int NOT NULL,
    feature_set_version text NOT NULL,
    opened_at timestamptz NOT NULL,
    first_id uuid NOT NULL,
    closed_at timestamptz NOT NULL,
    last_id uuid NOT NULL,
    closed_by text NOT NULL,          -- full | time | switch
    rows int NOT NULL,                -- of the log, repeats and errors included
    items int NOT NULL,               -- distinct sound items
    judged_at timestamptz,
    level text,                       -- of feature drift: ok | suspected | detected | inconclusive
    reason text,                      -- one sentence for people
    reference_version int,
    findings jsonb NOT NULL DEFAULT '{}',  -- one for each property
    report text                       -- key of the report for people, in the serving bucket
);
CREATE INDEX IF NOT EXISTS drift_windows_closed ON drift_windows (closed_at, last_id);
CREATE TABLE IF NOT EXISTS route_state (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route text NOT NULL,
    moved_from text,                  -- null for the first release
    decided_at timestamptz NOT NULL DEFAULT now(),
    switched_at timestamptz,          -- null while the move is open
    dropped_at timestamptz,           -- overtaken by another move before it happened
    pinned boolean NOT NULL DEFAULT false,
    actor text NOT NULL,
    reason text NOT NULL,
    evidence jsonb NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX IF NOT EXISTS route_state_one_open ON route_state ((true))
    WHERE switched_at IS NULL AND dropped_at IS NULL;
CREATE TABLE IF NOT EXISTS retraining_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT now(),
    version int NOT NULL,             -- the newest version that answered then
    reason text NOT NULL,
    evidence jsonb NOT NULL DEFAULT '{}',
    closed_at timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS retraining_requests_one_open ON retraining_requests ((true)) WHERE closed_at IS NULL;
CREATE TABLE IF NOT EXISTS alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL,                -- what is wrong: one open alert for each key
    severity text NOT NULL,           -- warning | error
    title text NOT NULL,
    body text NOT NULL,
    links jsonb NOT NULL DEFAULT '{}',
    opened_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    seen int NOT NULL DEFAULT 1,
    told_at timestamptz NOT NULL,     -- when the last message was queued
    resolved_at timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS alerts_one_open ON alerts (key) WHERE resolved_at IS NULL;
CREATE TABLE IF NOT EXISTS alert_deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert bigint NOT NULL REFERENCES alerts (id),
    channel text NOT NULL,
    message jsonb NOT NULL,
    queued_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    delivered_at timestamptz,
    error text
);
CREATE INDEX IF NOT EXISTS alert_deliveries_due ON alert_deliveries (due_at) WHERE delivered_at IS NULL;
"""


def upgrade() -> None:
    """Run the statements."""
    op.execute(UPGRADE)
