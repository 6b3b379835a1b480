// node-oidc-provider's adapter on PostgreSQL: one row per artefact, durable before the promise is kept.
// Every statement is prepared once per connection. What an artefact is found by beside its id has an index of its own.
import pg from 'pg';

const TABLE = `
  CREATE TABLE IF NOT EXISTS artefacts (
    kind text NOT NULL,
    id text NOT NULL,
    payload jsonb NOT NULL,
    grant_id text,
    user_code text,
    uid text,
    expires_at timestamptz,
    consumed_at timestamptz,
    PRIMARY KEY (kind, id)
  );
  CREATE INDEX IF NOT EXISTS artefacts_grant_id ON artefacts (grant_id) WHERE grant_id IS NOT NULL;
  CREATE INDEX IF NOT EXISTS artefacts_user_code ON artefacts (kind, user_code) WHERE user_code IS NOT NULL;
  CREATE INDEX IF NOT EXISTS artefacts_uid ON artefacts (kind, uid) WHERE uid IS NOT NULL;
`;

const UPSERT = `
  INSERT INTO artefacts (kind, id, payload, grant_id, user_code, uid, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
  ON CONFLICT (kind, id) DO UPDATE SET payload = excluded.payload, grant_id = excluded.grant_id,
    user_code = excluded.user_code, uid = excluded.uid, expires_at = excluded.expires_at
`;

let pool;

export async function open(host, database) {
  pool = new pg.Pool({ host, database, user: 'postgres', max: 32 });
  await pool.query(TABLE);
}

function run(name, text, values) {
  return pool.query({ name, text, values });
}

function found({ rows: [row] }) {
  if (row === undefined || (row.expires_at !== null && row.expires_at < new Date())) return undefined;
  return { ...row.payload, ...(row.consumed_at && { consumed: Math.floor(row.consumed_at / 1000) }) };
}

const COLUMNS = 'payload, expires_at, consumed_at';

export class Adapter {
  constructor(kind) {
    this.kind = kind;
  }

  async upsert(id, payload, expiresIn) {
    const expiresAt = expiresIn ? new Date(Date.now() + expiresIn * 1000) : null;
    const { grantId = null, userCode = null, uid = null } = payload;
    await run('upsert', UPSERT, [this.kind, id, payload, grantId, userCode, uid, expiresAt]);
  }

  async find(id) {
    return found(await run('find', `SELECT ${COLUMNS} FROM artefacts WHERE kind = $1 AND id = $2`, [this.kind, id]));
  }

  async findByUserCode(userCode) {
    const text = `SELECT ${COLUMNS} FROM artefacts WHERE kind = $1 AND user_code = $2`;
    return found(await run('user_code', text, [this.kind, userCode]));
  }

  async findByUid(uid) {
    return found(await run('uid', `SELECT ${COLUMNS} FROM artefacts WHERE kind = $1 AND uid = $2`, [this.kind, uid]));
  }

  async consume(id) {
    await run('consume', 'UPDATE artefacts SET consumed_at = now() WHERE kind = $1 AND id = $2', [this.kind, id]);
  }

  async destroy(id) {
    await run('destroy', 'DELETE FROM artefacts WHERE kind = $1 AND id = $2', [this.kind, id]);
  }

  async revokeByGrantId(grantId) {
    await run('revoke', 'DELETE FROM artefacts WHERE grant_id = $1', [grantId]);
  }
}
