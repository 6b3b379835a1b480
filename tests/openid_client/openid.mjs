// A client that signs people in with openid-client: its registration comes on the first line of standard input, the
// address that the person's browser was sent back to on the second. What it prints at the end, it has verified.
import { createInterface } from 'node:readline/promises'
import * as client from 'openid-client'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n')

const told = JSON.parse((await lines.next()).value)
const registered = { id_token_signed_response_alg: told.algorithm }
const authentication = client.ClientSecretBasic(told.client_secret)
const config = await client.discovery(new URL(told.issuer), told.client_id, registered, authentication, {
  execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks],
})

const pkceCodeVerifier = client.randomPKCECodeVerifier()
const expectedState = client.randomState()
const expectedNonce = client.randomNonce()
const address = client.buildAuthorizationUrl(config, {
  redirect_uri: told.redirect_uri,
  scope: 'openid offline_access',
  prompt: 'consent',
  max_age: '300',
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
  code_challenge_method: 'S256',
  state: expectedState,
  nonce: expectedNonce,
})
say({ address: address.href })

const response = new URL(JSON.parse((await lines.next()).value))
const checks = { pkceCodeVerifier, expectedState, expectedNonce, maxAge: 300, idTokenExpected: true }
const token = await client.authorizationCodeGrant(config, response, checks)
const refreshed = await client.refreshTokenGrant(config, token.refresh_token)
say({ metadata: config.serverMetadata(), claims: token.claims(), refreshed: refreshed.claims() })
process.exit(0)
