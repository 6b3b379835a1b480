// A client that signs people in with oauth4webapi alone, which leaves every step to the program and checks each of them.
// Its registration comes on the first line of standard input, where the person's browser was sent back to on the second.
import { createInterface } from 'node:readline/promises'
import * as oauth from 'oauth4webapi'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n')
const loopback = { [oauth.allowInsecureRequests]: true }

const told = JSON.parse((await lines.next()).value)
const issuer = new URL(told.issuer)
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, loopback))
const client = { client_id: told.client_id }
const authentication = oauth.ClientSecretBasic(told.client_secret)

const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
const nonce = oauth.generateRandomNonce()
const address = new URL(server.authorization_endpoint)
address.search = new URLSearchParams({
  response_type: 'code',
  client_id: client.client_id,
  redirect_uri: told.redirect_uri,
  scope: 'openid email',
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
  nonce,
}).toString()
say({ address: address.href })

const returned = new URL(JSON.parse((await lines.next()).value))
const parameters = oauth.validateAuthResponse(server, client, returned, state)
const answer = await oauth.authorizationCodeGrantRequest(
  server, client, authentication, parameters, told.redirect_uri, verifier, loopback,
)
const token = await oauth.processAuthorizationCodeResponse(server, client, answer, {
  expectedNonce: nonce,
  requireIdToken: true,
})
await oauth.validateApplicationLevelSignature(server, answer, loopback)
const claims = oauth.getValidatedIdTokenClaims(token)
const asked = await oauth.userInfoRequest(server, client, token.access_token, loopback)
const person = await oauth.processUserInfoResponse(server, client, claims.sub, asked)
say({ claims, person })
process.exit(0)
