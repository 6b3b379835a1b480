// A client of the FAPI 2.0 profile, with openid-client: its request is pushed (RFC 9126), it authenticates by a key
// (private_key_jwt), and its tokens are bound to another one (DPoP, RFC 9449). Its registration, with the key, comes on
// the first line of standard input, the address that the browser was sent back to on the second.
import { createInterface } from 'node:readline/promises'
import * as client from 'openid-client'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n')

const told = JSON.parse((await lines.next()).value)
const jwk = JSON.parse(told.key)
const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const authentication = client.PrivateKeyJwt({ key, kid: jwk.kid })
const registered = { id_token_signed_response_alg: 'ES256' }
const config = await client.discovery(new URL(told.issuer), told.client_id, registered, authentication, {
  execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks],
})
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))

const pkceCodeVerifier = client.randomPKCECodeVerifier()
const expectedState = client.randomState()
const expectedNonce = client.randomNonce()
const parameters = {
  redirect_uri: told.redirect_uri,
  scope: 'openid email offline_access',
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
  code_challenge_method: 'S256',
  state: expectedState,
  nonce: expectedNonce,
}
const address = await client.buildAuthorizationUrlWithPAR(config, parameters, { DPoP })
say({ address: address.href })

const response = new URL(JSON.parse((await lines.next()).value))
const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true }
const token = await client.authorizationCodeGrant(config, response, checks, undefined, { DPoP })
const claims = token.claims()
const person = await client.fetchUserInfo(config, token.access_token, claims.sub, { DPoP })
const refreshed = await client.refreshTokenGrant(config, token.refresh_token, undefined, { DPoP })
const result = { address: address.href, token, claims, person, refreshed }
try {
  await client.fetchUserInfo(config, token.access_token, claims.sub)
} catch (refusal) {
  result.as_bearer = refusal.status ?? refusal.cause?.status
}
say(result)
process.exit(0)
