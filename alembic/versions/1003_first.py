"""The log and its head, the projections, the vault; and the database itself refuses to rewrite the log."""

from alembic import op

revision = "1003"
down_revision = None
branch_labels = None
depends_on = None

REFUSAL = "the log is append-only"

SPELLED = {
    "sqlite": {"bytes": "BLOB", "place": "INTEGER", "without_rowid": "WITHOUT ROWID"},
    "postgresql": {"bytes": "BYTEA", "place": "BIGINT", "without_rowid": ""},
}
"""What the databases spell differently. SQLite makes only an INTEGER PRIMARY KEY the table's own row id."""

TABLES = """
CREATE TABLE log_head (
    id SMALLINT NOT NULL, position BIGINT NOT NULL, time BIGINT NOT NULL, indexed_by TEXT,
    CONSTRAINT pk_log_head PRIMARY KEY (id)
);
CREATE TABLE projection_versions (
    name TEXT NOT NULL, version INTEGER NOT NULL,
    CONSTRAINT pk_projection_versions PRIMARY KEY (name)
);
CREATE TABLE rebuilds (
    name TEXT NOT NULL, position BIGINT NOT NULL, generation BIGINT NOT NULL, versions TEXT NOT NULL,
    mac {bytes} NOT NULL,
    CONSTRAINT pk_rebuilds PRIMARY KEY (name)
);
CREATE TABLE folds (
    stream TEXT NOT NULL, version BIGINT NOT NULL, position BIGINT NOT NULL, state {bytes} NOT NULL,
    mac {bytes} NOT NULL,
    CONSTRAINT pk_folds PRIMARY KEY (stream)
);
CREATE TABLE reported_secrets (
    report_id TEXT NOT NULL, due_at BIGINT NOT NULL, attempts INTEGER NOT NULL, sealed {bytes} NOT NULL,
    CONSTRAINT pk_reported_secrets PRIMARY KEY (report_id)
);
CREATE TABLE stored_events (
    id {place} NOT NULL, originator_id TEXT NOT NULL, originator_version {place} NOT NULL, topic TEXT NOT NULL,
    state TEXT NOT NULL,
    CONSTRAINT pk_stored_events PRIMARY KEY (id)
);
CREATE UNIQUE INDEX ix_stored_events_stream ON stored_events (originator_id, originator_version);
CREATE TABLE log_checkpoints (
    size {place} NOT NULL, root {bytes} NOT NULL, note TEXT NOT NULL, time BIGINT NOT NULL, published BIGINT,
    CONSTRAINT pk_log_checkpoints PRIMARY KEY (size)
);
CREATE TABLE log_edge (
    id INTEGER NOT NULL, size BIGINT NOT NULL,
    CONSTRAINT pk_log_edge PRIMARY KEY (id)
);
CREATE TABLE log_tiles (
    level SMALLINT NOT NULL, number BIGINT NOT NULL, width SMALLINT NOT NULL, hashes {bytes} NOT NULL,
    CONSTRAINT pk_log_tiles PRIMARY KEY (level, number),
    CONSTRAINT ck_log_tiles_width CHECK (width BETWEEN 1 AND 256 AND length(hashes) = 32 * width)
);
CREATE TABLE accounts (
    account_id TEXT NOT NULL, position BIGINT NOT NULL, realm TEXT NOT NULL, username TEXT, email TEXT,
    name TEXT, username_index {bytes}, email_index {bytes}, roles TEXT NOT NULL, state TEXT NOT NULL,
    cutoff BIGINT NOT NULL, password_cutoff BIGINT NOT NULL, password_except TEXT,
    windows TEXT DEFAULT '' NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
    CONSTRAINT pk_accounts PRIMARY KEY (account_id), CONSTRAINT uq_accounts_position UNIQUE (position),
    CONSTRAINT uq_accounts_realm_email_index UNIQUE (realm, email_index),
    CONSTRAINT uq_accounts_realm_username_index UNIQUE (realm, username_index)
);
CREATE TABLE clients (
    client_id TEXT NOT NULL, position BIGINT NOT NULL, type TEXT NOT NULL, slug TEXT, realm TEXT NOT NULL,
    client_name TEXT NOT NULL, name_key {bytes} NOT NULL, redirect_uris TEXT NOT NULL,
    grant_types TEXT NOT NULL, scope TEXT NOT NULL, token_endpoint_auth_method TEXT NOT NULL,
    require_pkce BOOLEAN NOT NULL, access_token_lifetime INTEGER, refresh_token_lifetime INTEGER,
    allowed_origins TEXT NOT NULL, tokens_per_minute INTEGER, resources TEXT NOT NULL, serves TEXT NOT NULL,
    owner TEXT, state TEXT NOT NULL, cutoff BIGINT NOT NULL, windows TEXT DEFAULT '' NOT NULL,
    created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
    CONSTRAINT pk_clients PRIMARY KEY (client_id), CONSTRAINT uq_clients_position UNIQUE (position),
    CONSTRAINT uq_clients_slug UNIQUE (slug)
);
CREATE TABLE consents (
    account_id TEXT NOT NULL, client_id TEXT NOT NULL, scope TEXT, cutoff BIGINT NOT NULL,
    given_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
    CONSTRAINT pk_consents PRIMARY KEY (account_id, client_id)
);
CREATE TABLE deliveries (
    position BIGINT NOT NULL, destination TEXT NOT NULL, type TEXT NOT NULL, attempts INTEGER NOT NULL,
    due_at BIGINT NOT NULL, dead SMALLINT NOT NULL, outcome TEXT, mac {bytes} NOT NULL,
    CONSTRAINT pk_deliveries PRIMARY KEY (position, destination)
);
CREATE INDEX ix_deliveries_destination_dead_due_at ON deliveries (destination, dead, due_at);
CREATE TABLE digests (
    digest {bytes} NOT NULL, position BIGINT NOT NULL,
    CONSTRAINT pk_digests PRIMARY KEY (digest)
) {without_rowid};
CREATE TABLE event_positions (
    kind SMALLINT NOT NULL, key {bytes} NOT NULL, position BIGINT NOT NULL, before {bytes},
    CONSTRAINT pk_event_positions PRIMARY KEY (kind, key, position)
) {without_rowid};
CREATE INDEX ix_event_positions_addresses ON event_positions (position) WHERE kind = 6;
CREATE TABLE followers (
    name TEXT NOT NULL, position BIGINT NOT NULL,
    CONSTRAINT pk_followers PRIMARY KEY (name)
);
CREATE TABLE grants (
    started_position {place} NOT NULL, grant_id TEXT NOT NULL, grant_type TEXT NOT NULL,
    client_id TEXT NOT NULL, account_id TEXT, session_id TEXT, secret_id TEXT, scope TEXT NOT NULL,
    started_at BIGINT NOT NULL, last_used_at BIGINT NOT NULL, last_position BIGINT NOT NULL,
    expires_at BIGINT NOT NULL, refresh_digest {bytes}, predecessor_digest {bytes}, grace_ends_at BIGINT,
    branched SMALLINT NOT NULL, ended_at BIGINT, ended_position BIGINT, ended_reason TEXT,
    CONSTRAINT pk_grants PRIMARY KEY (started_position), CONSTRAINT uq_grants_grant_id UNIQUE (grant_id)
);
CREATE INDEX ix_grants_account_id_started_position ON grants (account_id, started_position)
    WHERE account_id IS NOT NULL;
CREATE INDEX ix_grants_client_id_started_position ON grants (client_id, started_position);
CREATE INDEX ix_grants_expires_at ON grants (expires_at);
CREATE INDEX ix_grants_client_id ON grants (client_id) WHERE branched = 1;
CREATE TABLE incidents (
    incident_id TEXT NOT NULL, position BIGINT NOT NULL, state TEXT NOT NULL, source TEXT NOT NULL,
    evidence TEXT, reported_by TEXT NOT NULL, reported_at BIGINT NOT NULL, sha256 TEXT, kind TEXT, target TEXT,
    client_id TEXT, account_id TEXT, secret_id TEXT, grant_id TEXT, secrets_ended BIGINT NOT NULL,
    grants_ended BIGINT NOT NULL, tokens_ended BIGINT NOT NULL, people_affected BIGINT NOT NULL,
    contained_at BIGINT, closed_at BIGINT, note TEXT,
    CONSTRAINT pk_incidents PRIMARY KEY (incident_id), CONSTRAINT uq_incidents_position UNIQUE (position)
);
CREATE TABLE incident_secrets (
    incident_id TEXT NOT NULL, sha256 TEXT NOT NULL, kind TEXT, position BIGINT NOT NULL,
    CONSTRAINT pk_incident_secrets PRIMARY KEY (incident_id, sha256)
);
CREATE INDEX ix_incident_secrets_sha256 ON incident_secrets (sha256);
CREATE INDEX ix_incidents_account_id ON incidents (account_id);
CREATE INDEX ix_incidents_client_id ON incidents (client_id);
CREATE INDEX ix_incidents_sha256 ON incidents (sha256);
CREATE TABLE outbox (
    position {place} NOT NULL, type TEXT NOT NULL,
    CONSTRAINT pk_outbox PRIMARY KEY (position)
);
CREATE TABLE roles (
    realm TEXT NOT NULL, name TEXT NOT NULL, scopes TEXT NOT NULL, is_default BOOLEAN NOT NULL,
    CONSTRAINT pk_roles PRIMARY KEY (realm, name)
);
CREATE TABLE rotations (
    client_id TEXT NOT NULL, maximum_age BIGINT NOT NULL, warning BIGINT NOT NULL, made_at BIGINT,
    announced INTEGER NOT NULL,
    CONSTRAINT pk_rotations PRIMARY KEY (client_id)
);
CREATE TABLE scopes (
    name TEXT NOT NULL, description TEXT NOT NULL,
    CONSTRAINT pk_scopes PRIMARY KEY (name)
);
CREATE TABLE secret_uses (
    secret_id TEXT NOT NULL, use_count BIGINT NOT NULL, last_used_at BIGINT,
    CONSTRAINT pk_secret_uses PRIMARY KEY (secret_id)
);
CREATE TABLE secrets (
    secret_id TEXT NOT NULL, client_id TEXT NOT NULL, version INTEGER NOT NULL, sha256 {bytes} NOT NULL,
    created_at BIGINT NOT NULL, not_before BIGINT, expires_at BIGINT, revoked_at BIGINT,
    tokens_cutoff BIGINT NOT NULL,
    CONSTRAINT pk_secrets PRIMARY KEY (secret_id), CONSTRAINT uq_secrets_sha256 UNIQUE (sha256)
);
CREATE INDEX ix_secrets_client_id ON secrets (client_id);
CREATE TABLE sessions (
    session_id TEXT NOT NULL, sha256 {bytes} NOT NULL, account_id TEXT NOT NULL, realm TEXT NOT NULL,
    position BIGINT NOT NULL, started_at BIGINT NOT NULL, expires_at BIGINT NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (session_id), CONSTRAINT uq_sessions_sha256 UNIQUE (sha256)
);
CREATE INDEX ix_sessions_account_id ON sessions (account_id);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE TABLE sightings (
    secret_id TEXT NOT NULL, account_id TEXT NOT NULL, address {bytes} NOT NULL, agent {bytes} NOT NULL,
    month TEXT NOT NULL, first_at BIGINT NOT NULL, last_at BIGINT NOT NULL, uses BIGINT NOT NULL,
    uses_after_end BIGINT NOT NULL, ip TEXT, user_agent TEXT,
    CONSTRAINT pk_sightings PRIMARY KEY (secret_id, account_id, address, agent, month)
);
CREATE INDEX ix_sightings_account_id ON sightings (account_id);
CREATE INDEX ix_sightings_month ON sightings (month);
CREATE INDEX ix_sightings_secret_id_last_at ON sightings (secret_id, last_at);
CREATE TABLE tokens (
    digest {bytes} NOT NULL, kind TEXT NOT NULL, grant_id TEXT NOT NULL, client_id TEXT NOT NULL,
    account_id TEXT, secret_id TEXT, scope TEXT NOT NULL, position BIGINT NOT NULL, issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL, prune_at BIGINT NOT NULL, ended_position BIGINT,
    CONSTRAINT pk_tokens PRIMARY KEY (digest)
);
CREATE INDEX ix_tokens_client_id_position ON tokens (client_id, position);
CREATE INDEX ix_tokens_prune_at ON tokens (prune_at);
CREATE TABLE vault_answers (
    key_hash {bytes} NOT NULL, body_hash {bytes} NOT NULL, answer {bytes} NOT NULL, key_id TEXT NOT NULL,
    status INTEGER NOT NULL, expires_at BIGINT NOT NULL,
    CONSTRAINT pk_vault_answers PRIMARY KEY (key_hash)
);
CREATE INDEX ix_vault_answers_expires_at ON vault_answers (expires_at);
CREATE INDEX ix_vault_answers_key_id ON vault_answers (key_id);
CREATE TABLE vault_keys (
    subject TEXT NOT NULL, wrapped {bytes}, key_id TEXT, created_at BIGINT NOT NULL, destroyed_at BIGINT,
    CONSTRAINT pk_vault_keys PRIMARY KEY (subject),
    CONSTRAINT ck_vault_keys_destroyed CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL)),
    CONSTRAINT ck_vault_keys_key_id CHECK ((wrapped IS NULL) = (key_id IS NULL))
);
CREATE INDEX ix_vault_keys_key_id ON vault_keys (key_id);
CREATE TABLE vault_secrets (
    name TEXT NOT NULL, wrapped {bytes} NOT NULL, key_id TEXT NOT NULL, version INTEGER NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT pk_vault_secrets PRIMARY KEY (name)
);
CREATE INDEX ix_vault_secrets_key_id ON vault_secrets (key_id)
"""

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
    """Makes every table, and the triggers on the log's."""
    name = op.get_bind().dialect.name
    for statement in TABLES.format_map(SPELLED[name]).split(";"):
        op.execute(statement)
    op.execute("INSERT INTO log_head (id, position, time) VALUES (1, 0, 0)")
    for statement in SQLITE if name == "sqlite" else POSTGRESQL:
        op.execute(statement)
