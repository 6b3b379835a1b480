// A third party built with openid-client: its registration comes on the first line of standard input, the address that
// the person's browser was sent back to on the second. It prints the address to lead the person to, then what it got.
import { createInterface } from 'node:readline/promises'
import * as client from 'openid-client'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n')

const told = JSON.parse((await lines.next()).value)
const authentication = told.client_secret ? client.ClientSecretBasic(told.client_secret) : client.None()
const config = await client.discovery(new URL(told.issuer), told.client_id, {}, authentication, {
  algorithm: 'oauth2',
  execute: [client.allowInsecureRequests],
})

const verifier = client.randomPKCECodeVerifier()
const state = client.randomState()
const address = client.buildAuthorizationUrl(config, {
  redirect_uri: told.redirect_uri,
  scope: told.scope,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
})
say({ address: address.href })

const response = new URL(JSON.parse((await lines.next()).value))
const token = await client.authorizationCodeGrant(config, response, { pkceCodeVerifier: verifier, expectedState: state })
const refreshed = await client.refreshTokenGrant(config, token.refresh_token)

const result = { metadata: config.serverMetadata(), token, refreshed }
if (told.client_secret) {
  result.introspected = await client.tokenIntrospection(config, refreshed.access_token)
  await client.tokenRevocation(config, refreshed.access_token)
  result.after_access_token = await client.tokenIntrospection(config, refreshed.access_token)
  await client.tokenRevocation(config, refreshed.refresh_token, { token_type_hint: 'refresh_token' })
  result.after_refresh_token = await client.tokenIntrospection(config, token.access_token)
  result.own = await client.clientCredentialsGrant(config, { scope: told.scope })
}
try {
  await client.authorizationCodeGrant(config, response, { pkceCodeVerifier: verifier, expectedState: state })
} catch (refusal) {
  result.replay = { error: refusal.error, status: refusal.status }
}
say(result)
process.exit(0)
