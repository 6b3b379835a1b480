// node-oidc-provider as one process: opaque tokens, client_credentials, introspection, refresh tokens that rotate.
// Writes, before it listens, as many unused refresh tokens as it is asked for, one a line.
import { writeFileSync } from 'node:fs';
import Provider from 'oidc-provider';
import { Adapter, open } from './adapter.mjs';

const { PORT, PEER_HOST, PEER_DATABASE, PEER_SECRET, PEER_REFRESH, PEER_COUNT } = process.env;
const SCOPE = 'catalog:read orders:write';
const LIFETIME = 86400;

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
      redirect_uris: ['https://shop.example/callback'],
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
  ttl: { AccessToken: LIFETIME, ClientCredentials: LIFETIME, RefreshToken: LIFETIME, Grant: LIFETIME },
});

async function refreshToken(client, number) {
  const accountId = `person-${number}`;
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope(SCOPE);
  const grantId = await grant.save();
  const token = new provider.RefreshToken({
    accountId,
    client,
    grantId,
    gty: 'authorization_code',
    scope: SCOPE,
    expiresWithSession: false,
    rotations: 0,
    iiat: Math.floor(Date.now() / 1000),
  });
  return token.save();
}

const shop = await provider.Client.find('shop');
const tokens = [];
for (let number = 0; number < Number(PEER_COUNT); number += 1) tokens.push(await refreshToken(shop, number));
writeFileSync(PEER_REFRESH, `${tokens.join('\n')}\n`);

const server = provider.listen(Number(PORT), '127.0.0.1');
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});
