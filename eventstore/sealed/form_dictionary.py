"""What texts of events have in common: the dictionary with which `eventstore.sealed.short_forms` packs them (RFC 8878).

What was packed with it is read with these very octets, so that it never changes, and a test holds it to its digest. A
better one would come beside it, under another number. In the place of values stand the marks of that page. What is
frequent comes last, where it takes the fewest bits to be named. The verifier has the same.
"""

DICTIONARY = b"\n".join(
    (
        (
            b'"type":"grant.details_given","stream":"grant:\x060","version":"data":{"client_id":"\x062",'
            b'"authorization_details":"\x01"},"request_id'
        ),
        (
            b'"type":"grant.device_requested","stream":"grant:\x060","version":"data":{"client_id":"\x062",'
            b'"secret_id":"\x063","secret_version":1,"asked":"\x01","resource":["https://api.example.com/"],'
            b'"code":"\x02","lifetime":600},"request_id'
        ),
        (
            b'"type":"grant.device_denied","stream":"grant:\x060","version":"data":{"client_id":"\x01",'
            b'"account_id":"\x061","session_id":"\x062","code":"\x02"},"request_id'
        ),
        (
            b'"type":"grant.device_approved","stream":"grant:\x060","version":"data":{"client_id":"\x01",'
            b'"account_id":"\x061","session_id":"\x062","scope":"openid profile email offline_access",'
            b'"asked":"\x01","resource":["https://api.example.com/"],"code":"\x02","lifetime":600,'
            b'"authentication":{"at":1,"acr":"\x01","amr":["pwd"]}},"request_id'
        ),
        b'"type":"grant.code_refused","stream":"grant:\x060","version":"data":{"reason":"expired"},"request_id',
        b'"type":"grant.code_replayed","stream":"grant:\x060","version":"data":{},"request_id',
        (
            b'"type":"grant.refresh_refused","stream":"grant:\x060","version":"data":{"reason":"expired",'
            b'"refresh_token":"\x02"},"request_id'
        ),
        (
            b'"type":"grant.refresh_replayed","stream":"grant:\x060","version":"data":{"refresh_token":"\x02"},'
            b'"request_id'
        ),
        (
            b'"type":"grant.successor_replaced","stream":"grant:\x060","version":"data":{"refresh_token":"\x02",'
            b'"presented":"\x01"},"request_id'
        ),
        (
            b'"type":"grant.exchanged","stream":"grant:\x060","version":"data":{"client_id":"\x062",'
            b'"account_id":"\x061","scope":"openid profile email offline_access",'
            b'"audience":["https://api.example.com/"],"act":["\x01"],"through":[{"client_id":"\x062",'
            b'"secret_id":"\x065","token":"\x02"}],"secret_id":"\x065","secret_version":1,"subject_token":"\x02",'
            b'"access_token":"\x02","lifetime":600,"dpop_jkt":"\x0543;","x5t_s256":"\x0543;",'
            b'"signing_key":"\x063","details":[{"type":","lone":{"position":1,"client_id":"\x062",'
            b'"secret_id":"\x065","scope":"openid profile email","issued_at":1795000000000000,'
            b'"expires_at":1795000000000000}},"request_id'
        ),
        (
            b'"type":"session.logout_failed","stream":"session:\x060","version":"data":{"client_id":"\x062",'
            b'"attempts":1,"reason":"refused","status":1,"final":true},"request_id'
        ),
        (
            b'"type":"session.logout_delivered","stream":"session:\x060","version":"data":{"client_id":"\x062",'
            b'"attempts":1},"request_id'
        ),
        (
            b'"type":"session.stepped_up","stream":"session:\x060","version":"data":{"method":"password",'
            b'"amr":["pwd"]},"request_id'
        ),
        b'"type":"session.ended","stream":"session:\x060","version":"data":{"reason":"signed_out"},"request_id',
        (
            b'"type":"session.started","stream":"session:\x060","version":"data":{"account_id":"\x062",'
            b'"realm":"platform","sha256":"\x02","lifetime":600,"amr":["pwd"]},"request_id'
        ),
        (
            b'"type":"usage.first_seen","stream":"usage:\x060","version":"data":{"client_id":"\x062",'
            b'"via":"revocation"},"request_id'
        ),
        (
            b'"type":"usage.seen","stream":"usage:\x060","version":"data":{"client_id":"\x062","via":"revocation",'
            b'"count":1,"window_seconds":60},"request_id'
        ),
        (
            b'"type":"usage.token_seen","stream":"usage:\x060","version":"data":{"kind":"session",'
            b'"client_id":"\x062","grant_id":"\x01","account_id":"\x01","secret_id":"\x063","via":"introspection",'
            b'"seen_by":"\x01","told_ip":"\x01","told_user_agent":"\x01","ended":"\x01","unproved":true,"count":1,'
            b'"window_seconds":60},"request_id'
        ),
        (
            b'"type":"grant.ended","stream":"grant:\x060","version":"data":{"reason":"secret_leak",'
            b'"lone":{"position":1,"client_id":"\x01","secret_id":"\x01","scope":"openid profile email",'
            b'"issued_at":1795000000000000,"expires_at":1795000000000000}},"request_id'
        ),
        (
            b'"type":"grant.access_token_issued","stream":"grant:\x060","version":"data":{"client_id":"\x062",'
            b'"account_id":"\x061","scope":"openid profile email offline_access",'
            b'"audience":["https://api.example.com/"],"secret_id":"\x065","secret_version":1,'
            b'"access_token":"\x02","lifetime":600,"presented":"\x01","dpop_jkt":"\x0543;","x5t_s256":"\x0543;",'
            b'"signing_key":"\x063","details":[{"type":"},"request_id'
        ),
        (
            b'"type":"grant.code_issued","stream":"grant:\x060","version":"data":{"client_id":"\x063",'
            b'"account_id":"\x061","session_id":"\x062","redirect_uri":"https://app.example.com/callback",'
            b'"redirect_uri_given":false,"scope":"openid profile email offline_access","asked":"\x01",'
            b'"resource":["https://api.example.com/"],"code_challenge":"\x0543;","code":"\x02","lifetime":600,'
            b'"authentication":{"at":1,"acr":"\x01","amr":["pwd"]},"nonce":"\x0532;","claims":"\x01",'
            b'"session_ends_at":1795000000000000,"dpop_jkt":"\x0543;","authorization_details":"\x01"},"request_id'
        ),
        (
            b'"type":"usage.token_first_seen","stream":"usage:\x060","version":"data":{"kind":"session",'
            b'"client_id":"\x062","grant_id":"\x01","account_id":"\x01","secret_id":"\x063","via":"introspection",'
            b'"seen_by":"\x01","told_ip":"\x01","told_user_agent":"\x01","ended":"\x01","unproved":true},'
            b'"request_id'
        ),
        (
            b'"type":"grant.tokens_refreshed","stream":"grant:\x060","version":"data":{"client_id":"\x062",'
            b'"account_id":"\x061","scope":"openid profile email offline_access",'
            b'"audience":["https://api.example.com/"],"secret_id":"\x065","secret_version":1,'
            b'"access_token":"\x02","lifetime":600,"refresh_token":"\x02","refresh_lifetime":2592000,'
            b'"grace_ends_at":1795000000000000,"dpop_jkt":"\x0543;","x5t_s256":"\x0543;","signing_key":"\x063",'
            b'"details":[{"type":"},"request_id'
        ),
        (
            b'"type":"grant.tokens_issued","stream":"grant:\x060","version":"data":{"grant_type":"authorization_co'
            b'de","client_id":"\x062","account_id":"\x061","scope":"openid profile email offline_access",'
            b'"audience":["https://api.example.com/"],"secret_id":"\x066","secret_version":1,'
            b'"access_token":"\x02","lifetime":600,"refresh_token":"\x02","refresh_lifetime":2592000,'
            b'"refresh_ends_in":7776000,"code":"\x02","dpop_jkt":"\x0543;","x5t_s256":"\x0543;",'
            b'"asserted_by":"\x064","amr":["pwd"],"signing_key":"\x063","details":[{"type":"},"request_id'
        ),
        (
            b'{"position":1,"id":"\x01","type":"grant.token_revoked","stream":"grant:\x060","version":2,'
            b'"time":"2026-09-03T10:30:48.345389Z","actor":{"kind":"client","id":"\x01",'
            b'"credential":{"secret_id":"\x01"}},"data":{"access_token":"\x02","expires_at":1788431748345389,'
            b'"by":"client"},"request_id":"\x01","ip":"s1.client:\x062.origin:2026-09.\x0551;",'
            b'"user_agent":"s1.client:\x062.origin:2026-09.\x05131;","mac":"\x03"}'
        ),
        (
            b'{"position":1,"id":"\x01","type":"grant.code_redeemed","stream":"grant:\x060","version":2,'
            b'"time":"2026-09-02T19:34:24.345389Z","actor":{"kind":"client","id":"\x01",'
            b'"credential":{"secret_id":"\x01"}},"data":{},"request_id":"\x01",'
            b'"ip":"s1.client:\x062.origin:2026-09.\x0550;","user_agent":"s1.client:\x062.origin:2026-09.\x05131;"'
            b',"mac":"\x03"}'
        ),
        (
            b'{"position":1,"id":"\x01","type":"grant.code_issued","stream":"grant:\x060","version":1,'
            b'"time":"2026-09-02T19:23:36.345389Z","actor":{"kind":"person","id":"\x061",'
            b'"credential":{"session_id":"\x062"}},"data":{"client_id":"\x01","account_id":"\x061",'
            b'"session_id":"\x062","redirect_uri":"https://shop.example.com/callback",'
            b'"scope":"openid profile email","code_challenge":"\x0543;","code":"\x02","lifetime":60},'
            b'"request_id":"\x01","ip":"s1.account:\x061.origin:2026-09.\x0550;",'
            b'"user_agent":"s1.account:\x061.origin:2026-09.\x05131;","mac":"\x03"}'
        ),
        (
            b'{"position":1,"id":"\x01","type":"usage.token_first_seen","stream":"usage:\x060","version":1,'
            b'"time":"2026-09-02T20:06:48.345389Z","actor":{"kind":"client","id":"\x01",'
            b'"credential":{"secret_id":"\x01"}},"data":{"kind":"access","client_id":"\x01","grant_id":"\x01",'
            b'"secret_id":"\x01","via":"introspection","seen_by":"\x062"},"request_id":"\x01",'
            b'"ip":"s1.client:\x062.origin:2026-09.\x0550;","user_agent":"s1.client:\x062.origin:2026-09.\x05131;"'
            b',"mac":"\x03"}'
        ),
        (
            b'{"position":1,"id":"\x01","type":"grant.tokens_refreshed","stream":"grant:\x060","version":4,'
            b'"time":"2026-09-02T20:39:12.345389Z","actor":{"kind":"client","id":"\x01",'
            b'"credential":{"secret_id":"\x01"}},"data":{"client_id":"\x063","account_id":"\x061",'
            b'"scope":"openid profile email","secret_id":"\x064","secret_version":1,"access_token":"\x02",'
            b'"lifetime":600,"refresh_token":"\x02","refresh_lifetime":2592000},"request_id":"\x01",'
            b'"ip":"s1.client:\x063.origin:2026-09.\x0550;","user_agent":"s1.client:\x063.origin:2026-09.\x05131;"'
            b',"mac":"\x03"}'
        ),
        (
            b'{"position":1,"id":"\x01","type":"grant.tokens_issued","stream":"grant:\x060","version":1,'
            b'"time":"2026-09-02T19:23:45.995573Z","actor":{"kind":"client","id":"\x01",'
            b'"credential":{"secret_id":"\x01"}},"data":{"grant_type":"client_credentials","client_id":"\x062",'
            b'"scope":"catalog:read","secret_id":"\x063","secret_version":1,"access_token":"\x02","lifetime":600},'
            b'"request_id":"\x01","ip":"s1.client:\x062.origin:2026-09.\x0550;",'
            b'"user_agent":"s1.client:\x062.origin:2026-09.\x05131;","mac":"\x03"}'
        ),
        (
            b'{"position":1,"id":"\x01","type":"grant.tokens_issued","stream":"grant:\x060","version":3,'
            b'"time":"2026-09-02T19:45:12.345389Z","actor":{"kind":"client","id":"\x01",'
            b'"credential":{"secret_id":"\x01"}},"data":{"grant_type":"authorization_code","client_id":"\x063",'
            b'"account_id":"\x061","scope":"openid profile email","secret_id":"\x064","secret_version":1,'
            b'"access_token":"\x02","lifetime":600,"refresh_token":"\x02","refresh_lifetime":2592000,'
            b'"refresh_ends_in":7776000,"code":"\x02"},"request_id":"\x01",'
            b'"ip":"s1.client:\x063.origin:2026-09.\x0550;","user_agent":"s1.client:\x063.origin:2026-09.\x05131;"'
            b',"mac":"\x03"}'
        ),
    )
)
