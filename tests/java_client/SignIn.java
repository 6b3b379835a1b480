import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.util.JSONObjectUtils;
import com.nimbusds.oauth2.sdk.AuthorizationCodeGrant;
import com.nimbusds.oauth2.sdk.ResponseType;
import com.nimbusds.oauth2.sdk.Scope;
import com.nimbusds.oauth2.sdk.TokenRequest;
import com.nimbusds.oauth2.sdk.auth.ClientSecretBasic;
import com.nimbusds.oauth2.sdk.auth.Secret;
import com.nimbusds.oauth2.sdk.id.ClientID;
import com.nimbusds.oauth2.sdk.id.Issuer;
import com.nimbusds.oauth2.sdk.id.State;
import com.nimbusds.oauth2.sdk.pkce.CodeChallengeMethod;
import com.nimbusds.oauth2.sdk.pkce.CodeVerifier;
import com.nimbusds.openid.connect.sdk.AuthenticationRequest;
import com.nimbusds.openid.connect.sdk.AuthenticationResponseParser;
import com.nimbusds.openid.connect.sdk.Nonce;
import com.nimbusds.openid.connect.sdk.OIDCTokenResponseParser;
import com.nimbusds.openid.connect.sdk.UserInfoRequest;
import com.nimbusds.openid.connect.sdk.UserInfoResponse;
import com.nimbusds.openid.connect.sdk.op.OIDCProviderMetadata;
import com.nimbusds.openid.connect.sdk.validators.IDTokenValidator;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.util.Map;

/**
 * A program that signs people in with Nimbus' SDK, which is inside Spring Security too: its registration comes on the
 * first line of standard input, the address that the browser was sent back to on the second. It prints what it verified.
 */
public class SignIn {
    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in));
        var told = JSONObjectUtils.parse(lines.readLine());
        var issuer = new Issuer(JSONObjectUtils.getString(told, "issuer"));
        var server = OIDCProviderMetadata.resolve(issuer);
        var client = new ClientID(JSONObjectUtils.getString(told, "client_id"));
        var secret = new Secret(JSONObjectUtils.getString(told, "client_secret"));
        var callback = new URI(JSONObjectUtils.getString(told, "redirect_uri"));

        var state = new State();
        var nonce = new Nonce();
        var verifier = new CodeVerifier();
        var request = new AuthenticationRequest.Builder(ResponseType.CODE, new Scope("openid", "email"), client, callback)
            .endpointURI(server.getAuthorizationEndpointURI())
            .codeChallenge(verifier, CodeChallengeMethod.S256)
            .state(state)
            .nonce(nonce)
            .build();
        say(Map.of("address", request.toURI().toString()));

        // A line of JSON that is one string.
        var returned = (String) JSONObjectUtils.parse("{\"address\":" + lines.readLine() + "}").get("address");
        var response = AuthenticationResponseParser.parse(new URI(returned));
        if (!response.getState().equals(state) || !response.getIssuer().equals(issuer)) {
            throw new IllegalStateException("another state or issuer came back");
        }
        var code = response.toSuccessResponse().getAuthorizationCode();
        var tokenRequest = new TokenRequest.Builder(
            server.getTokenEndpointURI(),
            new ClientSecretBasic(client, secret),
            new AuthorizationCodeGrant(code, callback, verifier)).build();
        var tokens = OIDCTokenResponseParser.parse(tokenRequest.toHTTPRequest().send()).toSuccessResponse().getTokens();
        var idToken = tokens.toOIDCTokens().getIDToken();
        var keys = server.getJWKSetURI().toURL();
        var claims = new IDTokenValidator(issuer, client, JWSAlgorithm.RS256, keys).validate(idToken, nonce);

        var asking = new UserInfoRequest(server.getUserInfoEndpointURI(), tokens.getBearerAccessToken());
        var person = UserInfoResponse.parse(asking.toHTTPRequest().send()).toSuccessResponse().getUserInfo();
        say(Map.of(
            "signed", claims.getSubject().getValue(),
            "sub", person.getSubject().getValue(),
            "email", person.getEmailAddress()));
    }

    private static void say(Map<String, Object> message) {
        System.out.println(JSONObjectUtils.toJSONString(message));
    }
}
