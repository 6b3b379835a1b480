// node-oidc-provider as one or several processes: opaque tokens, client_credentials, introspection, codes with PKCE,
// refresh tokens that rotate. Writes, before it listens, as many unused codes and refresh tokens as it is asked for.
import cluster from 'node:cluster';
import { writeFileSync } from 'node:fs';
import Provider from 'oidc-provider';
import { Adapter, open } from './adapter.mjs';

const { PORT, PEER_HOST, PEER_DATABASE, PEER_SECRET, PEER_PREPARED, PEER_CODES, PEER_REFRESH, PEER_PROCESSES } =
  process.env;
const { PEER_SCOPE: SCOPE, PEER_REDIRECT_URI: REDIRECT_URI, PEER_CHALLENGE: CHALLENGE } = process.env;
const LIFETIME = 86400;
const AT_A_TIME = 32;

await open(PEER_HOST, PEER_DATABASE);

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  adapter: Adapter,
  clients: [
    {
      client_id: 'service',
      client_secret: PEER_SECRET,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      scope: SCOPE,
    },
    {
      client_id: 'shop',
      client_secret: PEER_SECRET,
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [REDIRECT_URI],
      scope: SCOPE,
    },
  ],
  scopes: SCOPE.split(' '),
  cookies: { keys: [PEER_SECRET] },
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: false },
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  issueRefreshToken: () => true,
  // As Grantlog does it: every refresh token is used once and followed by another.
  rotateRefreshToken: () => true,
  ttl: {
    AccessToken: LIFETIME,
    AuthorizationCode: LIFETIME,
    ClientCredentials: LIFETIME,
    Grant: LIFETIME,
    RefreshToken: LIFETIME,
  },
});

// What a code and a refresh token have in common: a grant of a person of its own, and no session to be looked up.
async function granted(client, number) {
  const accountId = `person-${number}`;
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope(SCOPE);
  const grantId = await grant.save();
  return { accountId, client, grantId, scope: SCOPE, expiresWithSession: false };
}

async function code(client, number) {
  const redeemed = { redirectUri: REDIRECT_URI, codeChallenge: CHALLENGE, codeChallengeMethod: 'S256' };
  return new provider.AuthorizationCode({ ...(await granted(client, number)), ...redeemed }).save();
}

async function refreshToken(client, number) {
  const first = { gty: 'authorization_code', rotations: 0, iiat: Math.floor(Date.now() / 1000) };
  return new provider.RefreshToken({ ...(await granted(client, number)), ...first }).save();
}

async function many(count, make) {
  const made = [];
  for (let start = 0; start < count; start += AT_A_TIME) {
    const together = Math.min(AT_A_TIME, count - start);
    made.push(...(await Promise.all(Array.from({ length: together }, (_, place) => make(start + place)))));
  }
  return made;
}

async function prepare() {
  const shop = await provider.Client.find('shop');
  const codes = await many(Number(PEER_CODES), (number) => code(shop, number));
  const refresh = await many(Number(PEER_REFRESH), (number) => refreshToken(shop, number));
  writeFileSync(PEER_PREPARED, JSON.stringify({ codes, refresh }));
}

function serve() {
  const server = provider.listen(Number(PORT), '127.0.0.1');
  process.on('SIGTERM', () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}

// Node's own way to put several processes on one port: this one accepts connections and hands them on in turn.
function share(count) {
  const workers = Array.from({ length: count }, () => cluster.fork());
  let ended = false;
  let left = count;
  process.on('SIGTERM', () => {
    ended = true;
    for (const worker of workers) worker.process.kill('SIGTERM');
  });
  cluster.on('exit', () => {
    left -= 1;
    if (!ended || left === 0) process.exit(ended ? 0 : 1);
  });
}

if (cluster.isPrimary) await prepare();
if (cluster.isPrimary && Number(PEER_PROCESSES) > 1) share(Number(PEER_PROCESSES));
else serve();
