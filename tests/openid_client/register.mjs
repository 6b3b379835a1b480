// A client that registers itself with openid-client and authenticates by what it signs with a key that it has just made.
// What it is told comes on the first line of standard input, the address that the person's browser was sent back to on
// the second. What it prints at the end, it has verified.
import { createInterface } from 'node:readline/promises'
import * as client from 'openid-client'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n')

const told = JSON.parse((await lines.next()).value)
const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
const key = { ...(await crypto.subtle.exportKey('jwk', pair.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }
const registered = {
  client_name: 'Registers itself',
  redirect_uris: [told.redirect_uri],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  scope: 'openid offline_access',
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: { keys: [key] },
}
const authentication = client.PrivateKeyJwt({ key: pair.privateKey, kid: 'one' })
const config = await client.dynamicClientRegistration(new URL(told.issuer), registered, authentication, {
  execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks],
})

const pkceCodeVerifier = client.randomPKCECodeVerifier()
const expectedState = client.randomState()
const expectedNonce = client.randomNonce()
const address = client.buildAuthorizationUrl(config, {
  redirect_uri: told.redirect_uri,
  scope: 'openid offline_access',
  prompt: 'consent',
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
  code_challenge_method: 'S256',
  state: expectedState,
  nonce: expectedNonce,
})
say({ address: address.href })

const response = new URL(JSON.parse((await lines.next()).value))
const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true }
const token = await client.authorizationCodeGrant(config, response, checks)
const refreshed = await client.refreshTokenGrant(config, token.refresh_token)
await client.tokenRevocation(config, refreshed.access_token)
say({ metadata: config.clientMetadata(), claims: token.claims(), refreshed: refreshed.claims() })
process.exit(0)
