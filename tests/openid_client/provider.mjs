// node-oidc-provider, at which people of Grantlog sign in. It believes whoever says who they are, and of somebody who is
// called after a claim of the id_token it says something wrong in that.
import { createServer } from 'node:http';
import { decodeJwt, exportJWK, generateKeyPair, SignJWT } from 'jose';
import Provider from 'oidc-provider';

const { PORT, CLIENT_SECRET, REDIRECT_URI, EMAIL } = process.env;
const issuer = `http://127.0.0.1:${PORT}`;
const WRONG = { nonce: 'another', aud: 'somebody else', iss: 'https://elsewhere.example' };
const { privateKey } = await generateKeyPair('RS256', { extractable: true });
const kid = 'only';

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'grantlog',
      client_secret: CLIENT_SECRET,
      redirect_uris: [REDIRECT_URI],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  conformIdTokenClaims: false,
  jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig', kid }] },
  cookies: { keys: [CLIENT_SECRET] },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: EMAIL, email_verified: true }) }),
});

const { issue } = provider.IdToken.prototype;
provider.IdToken.prototype.issue = async function wrong(...given) {
  const token = await issue.apply(this, given);
  const claims = decodeJwt(token);
  if (!(claims.sub in WRONG)) return token;
  const told = { ...claims, [claims.sub]: WRONG[claims.sub] };
  return new SignJWT(told).setProtectedHeader({ alg: 'RS256', kid }).sign(privateKey);
};

const server = createServer(provider.callback()).listen(Number(PORT), '127.0.0.1');
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});
