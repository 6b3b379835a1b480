"""The database itself refuses to rewrite the log."""

from alembic import op

revision = "1002"
down_revision = "1001"
branch_labels = None
depends_on = None

REFUSAL = "the log is append-only"

SQLITE = (
    f"""CREATE TRIGGER stored_events_no_update BEFORE UPDATE ON stored_events
    BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END""",
    # A DELETE without WHERE, which is how SQLite truncates, fires this for each row too.
    f"""CREATE TRIGGER stored_events_no_delete BEFORE DELETE ON stored_events
    BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END""",
    # INSERT OR REPLACE removes the former row without firing a DELETE trigger; so it must not come that far.
    f"""CREATE TRIGGER stored_events_no_replacement BEFORE INSERT ON stored_events
    WHEN EXISTS (SELECT 1 FROM stored_events WHERE id = NEW.id)
      OR EXISTS (SELECT 1 FROM stored_events
                 WHERE originator_id = NEW.originator_id AND originator_version = NEW.originator_version)
    BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END""",  # noqa: S608 - the only value is the constant above
)

POSTGRESQL = (
    f"""CREATE FUNCTION refuse_to_rewrite_the_log() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$""",
    """CREATE TRIGGER stored_events_no_change BEFORE UPDATE OR DELETE ON stored_events
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite_the_log()""",
    """CREATE TRIGGER stored_events_no_truncate BEFORE TRUNCATE ON stored_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_the_log()""",
)


def upgrade() -> None:
    """Makes the triggers."""
    for statement in SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL:
        op.execute(statement)
