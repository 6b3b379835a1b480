"""The log and its head, the projections, the vault; and the database itself refuses to rewrite the log."""

from alembic import op

revision = "1100"
down_revision = None
branch_labels = None
depends_on = None

REFUSAL = "the log is append-only"

SPELLED = {
    "sqlite": {"bytes": "BLOB", "place": "INTEGER", "without_rowid": "WITHOUT ROWID", "false": "0", "true": "1"},
    "postgresql": {"bytes": "BYTEA", "place": "BIGINT", "without_rowid": "", "false": "false", "true": "true"},
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
    account_id TEXT NOT NULL, position BIGINT NOT NULL, realm TEXT NOT NULL, username TEXT, email TEXT, name TEXT,
    given_name TEXT, family_name TEXT, middle_name TEXT, nickname TEXT, preferred_username TEXT, profile TEXT,
    picture TEXT, website TEXT, gender TEXT, birthdate TEXT, zoneinfo TEXT, locale TEXT, phone_number TEXT,
    address TEXT, email_verified TEXT, phone_number_verified TEXT, username_index {bytes}, email_index {bytes},
    roles TEXT NOT NULL, state TEXT NOT NULL, cutoff BIGINT NOT NULL, password_cutoff BIGINT NOT NULL,
    password_except TEXT, windows TEXT DEFAULT '' NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
    CONSTRAINT pk_accounts PRIMARY KEY (account_id),
    CONSTRAINT uq_accounts_realm_username_index UNIQUE (realm, username_index),
    CONSTRAINT uq_accounts_realm_email_index UNIQUE (realm, email_index),
    CONSTRAINT uq_accounts_position UNIQUE (position)
);
CREATE TABLE clients (
    client_id TEXT NOT NULL, position BIGINT NOT NULL, type TEXT NOT NULL, slug TEXT, realm TEXT NOT NULL,
    client_name TEXT NOT NULL, name_key {bytes} NOT NULL, redirect_uris TEXT NOT NULL, grant_types TEXT NOT NULL,
    scope TEXT NOT NULL, token_endpoint_auth_method TEXT NOT NULL, require_pkce BOOLEAN NOT NULL,
    access_token_lifetime INTEGER, refresh_token_lifetime INTEGER, allowed_origins TEXT NOT NULL,
    tokens_per_minute INTEGER, resources TEXT NOT NULL, serves TEXT NOT NULL,
    id_token_signed_response_alg TEXT DEFAULT 'RS256' NOT NULL, userinfo_signed_response_alg TEXT,
    token_endpoint_auth_signing_alg TEXT, first_party BOOLEAN DEFAULT {false} NOT NULL,
    token_exchange TEXT DEFAULT '[]' NOT NULL, keys TEXT DEFAULT '{{}}' NOT NULL,
    require_pushed_authorization_requests BOOLEAN DEFAULT {false} NOT NULL,
    post_logout_redirect_uris TEXT DEFAULT '[]' NOT NULL, backchannel_logout_uri TEXT,
    backchannel_logout_session_required BOOLEAN DEFAULT {false} NOT NULL,
    subject_type TEXT DEFAULT 'public' NOT NULL, sector_identifier_uri TEXT, self_registered TEXT,
    metadata_uri TEXT, dpop_bound_access_tokens BOOLEAN DEFAULT {false} NOT NULL,
    tls_client_certificate_bound_access_tokens BOOLEAN DEFAULT {false} NOT NULL, profile TEXT,
    require_signed_request_object BOOLEAN DEFAULT {false} NOT NULL, request_object_signing_alg TEXT,
    authorization_signed_response_alg TEXT, access_token_format TEXT DEFAULT 'opaque' NOT NULL,
    authorization_details_types TEXT DEFAULT '[]' NOT NULL, owner TEXT, state TEXT NOT NULL, cutoff BIGINT NOT NULL,
    windows TEXT DEFAULT '' NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
    CONSTRAINT pk_clients PRIMARY KEY (client_id),
    CONSTRAINT uq_clients_position UNIQUE (position),
    CONSTRAINT uq_clients_slug UNIQUE (slug)
);
CREATE TABLE consents (
    account_id TEXT NOT NULL, client_id TEXT NOT NULL, scope TEXT, cutoff BIGINT NOT NULL, given_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
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
    started_position {place} NOT NULL, grant_id TEXT NOT NULL, grant_type TEXT NOT NULL, client_id TEXT NOT NULL,
    account_id TEXT, session_id TEXT, secret_id TEXT, scope TEXT NOT NULL, started_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL, last_position BIGINT NOT NULL, expires_at BIGINT NOT NULL, refresh_digest {bytes},
    predecessor_digest {bytes}, grace_ends_at BIGINT, branched SMALLINT NOT NULL, ended_at BIGINT,
    ended_position BIGINT, ended_reason TEXT,
    CONSTRAINT pk_grants PRIMARY KEY (started_position),
    CONSTRAINT uq_grants_grant_id UNIQUE (grant_id)
);
CREATE INDEX ix_grants_account_id_started_position ON grants (account_id, started_position) WHERE account_id IS
    NOT NULL;
CREATE INDEX ix_grants_client_id ON grants (client_id) WHERE branched = 1;
CREATE INDEX ix_grants_client_id_started_position ON grants (client_id, started_position);
CREATE INDEX ix_grants_expires_at ON grants (expires_at);
CREATE TABLE incidents (
    incident_id TEXT NOT NULL, position BIGINT NOT NULL, state TEXT NOT NULL, source TEXT NOT NULL, evidence TEXT,
    reported_by TEXT NOT NULL, reported_at BIGINT NOT NULL, sha256 TEXT, kind TEXT, target TEXT, client_id TEXT,
    account_id TEXT, secret_id TEXT, grant_id TEXT, secrets_ended BIGINT NOT NULL, grants_ended BIGINT NOT NULL,
    tokens_ended BIGINT NOT NULL, people_affected BIGINT NOT NULL, contained_at BIGINT, closed_at BIGINT, note TEXT,
    CONSTRAINT pk_incidents PRIMARY KEY (incident_id),
    CONSTRAINT uq_incidents_position UNIQUE (position)
);
CREATE INDEX ix_incidents_account_id ON incidents (account_id);
CREATE INDEX ix_incidents_client_id ON incidents (client_id);
CREATE INDEX ix_incidents_sha256 ON incidents (sha256);
CREATE TABLE incident_secrets (
    incident_id TEXT NOT NULL, sha256 TEXT NOT NULL, kind TEXT, position BIGINT NOT NULL,
    CONSTRAINT pk_incident_secrets PRIMARY KEY (incident_id, sha256)
);
CREATE INDEX ix_incident_secrets_sha256 ON incident_secrets (sha256);
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
    CONSTRAINT pk_secrets PRIMARY KEY (secret_id),
    CONSTRAINT uq_secrets_sha256 UNIQUE (sha256)
);
CREATE INDEX ix_secrets_client_id ON secrets (client_id);
CREATE TABLE sessions (
    session_id TEXT NOT NULL, sha256 {bytes} NOT NULL, account_id TEXT NOT NULL, realm TEXT NOT NULL,
    position BIGINT NOT NULL, started_at BIGINT NOT NULL, expires_at BIGINT NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (session_id),
    CONSTRAINT uq_sessions_sha256 UNIQUE (sha256)
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
    digest {bytes} NOT NULL, kind TEXT NOT NULL, grant_id TEXT NOT NULL, client_id TEXT NOT NULL, account_id TEXT,
    secret_id TEXT, scope TEXT NOT NULL, alone SMALLINT NOT NULL, position BIGINT NOT NULL,
    issued_at BIGINT NOT NULL, expires_at BIGINT NOT NULL, prune_at BIGINT NOT NULL, ended_position BIGINT,
    CONSTRAINT pk_tokens PRIMARY KEY (digest)
);
CREATE INDEX ix_tokens_client_id_position ON tokens (client_id, position);
CREATE INDEX ix_tokens_position ON tokens (position) WHERE alone = 1;
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
CREATE INDEX ix_vault_secrets_key_id ON vault_secrets (key_id);
CREATE TABLE client_documents (
    sha256 {bytes} NOT NULL, fresh_until BIGINT NOT NULL, prune_at BIGINT NOT NULL, sealed {bytes},
    CONSTRAINT pk_client_documents PRIMARY KEY (sha256)
);
CREATE INDEX ix_client_documents_prune_at ON client_documents (prune_at);
CREATE TABLE client_refusals (
    client_id TEXT NOT NULL, number BIGINT NOT NULL, at BIGINT NOT NULL, request_id TEXT NOT NULL,
    endpoint TEXT NOT NULL, error TEXT NOT NULL, reason TEXT, description TEXT,
    CONSTRAINT pk_client_refusals PRIMARY KEY (client_id, number)
) {without_rowid};
CREATE TABLE device_requests (
    grant_id TEXT NOT NULL, device_code {bytes} NOT NULL, user_code {bytes} NOT NULL, anonymous SMALLINT NOT NULL,
    expires_at BIGINT NOT NULL, asked_at BIGINT, pace INTEGER NOT NULL, sealed {bytes} NOT NULL,
    CONSTRAINT pk_device_requests PRIMARY KEY (grant_id),
    CONSTRAINT uq_device_requests_device_code UNIQUE (device_code),
    CONSTRAINT uq_device_requests_user_code UNIQUE (user_code)
);
CREATE INDEX ix_device_requests_anonymous_expires_at ON device_requests (anonymous, expires_at);
CREATE TABLE erasures (
    account_id TEXT NOT NULL, due_at BIGINT NOT NULL,
    CONSTRAINT pk_erasures PRIMARY KEY (account_id)
);
CREATE INDEX ix_erasures_due_at ON erasures (due_at);
CREATE TABLE foreign_hashes (
    account_id TEXT NOT NULL, realm TEXT NOT NULL, work BIGINT NOT NULL,
    CONSTRAINT pk_foreign_hashes PRIMARY KEY (account_id)
);
CREATE INDEX ix_foreign_hashes_realm_work ON foreign_hashes (realm, work);
CREATE TABLE letters (
    letter_id TEXT NOT NULL, account_id TEXT NOT NULL, made_at BIGINT NOT NULL, due_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL, sealed {bytes} NOT NULL,
    CONSTRAINT pk_letters PRIMARY KEY (letter_id)
);
CREATE INDEX ix_letters_account_id ON letters (account_id);
CREATE INDEX ix_letters_due_at ON letters (due_at);
CREATE TABLE logout_notices (
    session_id TEXT NOT NULL, client_id TEXT NOT NULL, attempts INTEGER NOT NULL, due_at BIGINT NOT NULL,
    mac {bytes} NOT NULL,
    CONSTRAINT pk_logout_notices PRIMARY KEY (session_id, client_id)
);
CREATE INDEX ix_logout_notices_due_at ON logout_notices (due_at);
CREATE TABLE mailed_links (
    link {bytes} NOT NULL, subject {bytes} NOT NULL, purpose TEXT NOT NULL, made_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL, sealed {bytes} NOT NULL,
    CONSTRAINT pk_mailed_links PRIMARY KEY (link)
);
CREATE INDEX ix_mailed_links_expires_at ON mailed_links (expires_at);
CREATE INDEX ix_mailed_links_purpose_made_at ON mailed_links (purpose, made_at);
CREATE INDEX ix_mailed_links_subject_purpose ON mailed_links (subject, purpose);
CREATE TABLE person_notices (
    position {place} NOT NULL,
    CONSTRAINT pk_person_notices PRIMARY KEY (position)
);
CREATE TABLE pushed_requests (
    request_uri {bytes} NOT NULL, anonymous BOOLEAN NOT NULL, prune_at BIGINT NOT NULL, sealed {bytes} NOT NULL,
    CONSTRAINT pk_pushed_requests PRIMARY KEY (request_uri)
);
CREATE INDEX ix_pushed_requests_prune_at ON pushed_requests (prune_at);
CREATE TABLE session_ends (
    position {place} NOT NULL,
    CONSTRAINT pk_session_ends PRIMARY KEY (position)
);
CREATE TABLE session_grants (
    grant_id TEXT NOT NULL, session_id TEXT NOT NULL, client_id TEXT NOT NULL, account_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT pk_session_grants PRIMARY KEY (grant_id)
);
CREATE INDEX ix_session_grants_account_id ON session_grants (account_id);
CREATE INDEX ix_session_grants_expires_at ON session_grants (expires_at);
CREATE INDEX ix_session_grants_session_id ON session_grants (session_id);
CREATE TABLE signal_causes (
    position {place} NOT NULL,
    CONSTRAINT pk_signal_causes PRIMARY KEY (position)
);
CREATE TABLE signals (
    jti TEXT NOT NULL, client_id TEXT NOT NULL, position BIGINT NOT NULL, attempts INTEGER NOT NULL,
    due_at BIGINT NOT NULL, sealed {bytes} NOT NULL,
    CONSTRAINT pk_signals PRIMARY KEY (jti)
);
CREATE INDEX ix_signals_client_id_position ON signals (client_id, position);
CREATE INDEX ix_signals_due_at ON signals (due_at);
CREATE TABLE used_id_counts (
    holder TEXT NOT NULL, number INTEGER NOT NULL,
    CONSTRAINT pk_used_id_counts PRIMARY KEY (holder)
);
CREATE TABLE used_ids (
    holder TEXT NOT NULL, sha256 {bytes} NOT NULL, until BIGINT NOT NULL,
    CONSTRAINT pk_used_ids PRIMARY KEY (holder, sha256)
) {without_rowid};
CREATE INDEX ix_used_ids_until ON used_ids (until)
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
