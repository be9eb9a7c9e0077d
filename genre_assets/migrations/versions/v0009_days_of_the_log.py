"""A day of the prediction log can be begun by a role that may only append to it: by a function with its owner's rights."""

from alembic import op

revision = "0009"
down_revision = "0008"

UPGRADE = ""  # no table is new
# Of PostgreSQL alone. What a caller can have made is a day of the log, empty, and no further ahead than clocks are wrong.
FUNCTION = """
CREATE OR REPLACE FUNCTION served_requests_day(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF day NOT BETWEEN current_date - 36501 AND current_date + 31 THEN
        RAISE EXCEPTION 'no day of the prediction log: %', day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF served_requests FOR VALUES FROM (%L) TO (%L)',
        'served_requests_' || to_char(day, 'YYYYMMDD'), to_char(day, 'YYYY-MM-DD 00:00:00+00'), to_char(day + 1, 'YYYY-MM-DD 00:00:00+00')
    );
END
$$;
REVOKE ALL ON FUNCTION served_requests_day(date) FROM PUBLIC;
"""


def upgrade() -> None:
    """Run the statement."""
    op.execute(FUNCTION)
