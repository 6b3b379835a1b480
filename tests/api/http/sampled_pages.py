"""Every page that there is but the console's, with something in all of its members."""

from typing import Any

from markupsafe import Markup

from api.dashboards import pages as dashboard_pages
from api.http import templates
from api.openapi import document as openapi
from api.pages import (
    account,
    account_pages,
    device,
    email_address,
    factors,
    notices,
    passkey_enrolment,
    recover,
    register,
    sign_in,
)
from api.pages.authorization import authorization_response, consent_page
from api.pages.upstream.coming_back import LinkQuestionPage
from api.upstreams.flow import UpstreamButton

SINCE = 1_772_700_000_123_456
SCOPES = (
    templates.ScopeInWords("profile", "See your name"),
    templates.ScopeInWords("catalog:read", "Look at the catalog", allowed=True),
)
SOMEBODY: Any = {
    "username": "paul",
    "realm": "platform",
    "sign_out_action": "/sign-out",
    "csrf": "token-c",
    "mails": True,
}
PLACES = (
    account_pages.ShownPlace(None, "192.0.2.7", "Firefox", SINCE, SINCE + 60_000_000, True, "/account/places/end?id=a"),
    account_pages.ShownPlace("Client Dashboard", None, None, SINCE, SINCE, False, "/account/places/end?id=b"),
)
SAMPLES: dict[str, templates.HtmlPage] = {
    "home": account.HomePage(
        issuer="https://id.example.test",
        dashboards=(account.DashboardLink("Client Dashboard", "platform", "/dashboards/client"),),
        third_party="http://127.0.0.1:8401/",
    ),
    "sign_in": sign_in.SignInPage(
        action="/oauth/authorize/sign-in?state=a%26b&x=1",
        csrf="token-c",
        realm="platform",
        application="Paperboat",
        username="paul",
        error="Wrong.",
        upstreams=(UpstreamButton("corp", "Corp"),),
    ),
    "second_factor": sign_in.SecondFactorPage(
        action="/sign-in?x=1", csrf="token-c", auth_session="sealed", application="Paperboat", error="Wrong."
    ),
    "factors": factors.FactorsPage(
        username="paul",
        enrolled=True,
        generator="f1",
        passkeys=(factors.ShownPasskey("p1", "Telephone", SINCE, False),),
        passkey_url="/account/factors/passkeys",
        since=SINCE,
        left=9,
        needed=False,
        switched_off=True,
        continue_url="/oauth/authorize?x=1",
        realm="platform",
        sign_out_action="/account/sign-out?realm=platform",
        mails=True,
        enrol_url="/account/factors/totp",
        renew_action="/account/factors/recovery-codes",
        remove_action="/account/factors/remove",
        csrf="token-c",
    ),
    "no_factors": factors.FactorsPage(
        username="paul",
        enrolled=False,
        generator="",
        passkeys=(),
        passkey_url=None,
        since=None,
        left=0,
        needed=True,
        switched_off=False,
        continue_url=None,
        realm="platform",
        sign_out_action="/account/sign-out?realm=platform",
        mails=True,
        enrol_url="/account/factors/totp",
        renew_action="/account/factors/recovery-codes",
        remove_action="/account/factors/remove",
        csrf="token-c",
    ),
    "passkey": passkey_enrolment.PasskeyPage(
        action="/account/factors/passkeys",
        csrf="token-c",
        back_url="/account/factors",
        passkey_options='{"challenge": "AAAA"}',
        name="Telephone",
        error="Wrong.",
    ),
    "no_passkey": passkey_enrolment.PasskeyPage(
        action="/account/factors/passkeys", csrf="token-c", back_url="/account/factors", passkey_options=None
    ),
    "totp": factors.TotpPage(
        action="/account/factors/totp",
        csrf="token-c",
        enrolment="sealed",
        secret="GEZD GNBV",
        otpauth_uri="otpauth://totp/x",
        qr_code=Markup("<svg></svg>"),
        error="Wrong.",
    ),
    "recovery_codes": factors.RecoveryCodesPage(codes=("abcd-efgh-jkmn-pqrs",), continue_url="/account/factors"),
    "sign_in_alone": sign_in.SignInPage(action="/sign-in", csrf="token-c", realm="platform"),
    "sign_in_passkey": sign_in.SignInPage(
        action="/sign-in", csrf="token-c", realm="platform", passkey_options='{"challenge": "AAAA"}'
    ),
    "consent": consent_page.ConsentPage(
        action="/oauth/authorize/consent?x=1",
        sign_out_action="/sign-out",
        csrf="token-c",
        application="Paperboat",
        scopes=SCOPES,
        destination="reader.example.test",
        username="paul",
        claims=("name", "email"),
    ),
    "device": device.DevicePage(action="/device", csrf="token-c", user_code="WDJB-MJHT", error="Wrong."),
    "device_consent": device.DeviceConsentPage(
        action="/device/decision?x=1",
        sign_out_action="/sign-out",
        csrf="token-c",
        application="Television",
        user_code="WDJB-MJHT",
        scopes=SCOPES,
        address="192.0.2.7",
        user_agent="curl/8",
        since=SINCE,
        username="paul",
    ),
    "device_done": device.DeviceDonePage(application="Television", approved=True),
    "error_back": authorization_response.ErrorBackPage(
        explanation="The scope is unknown.",
        application="Paperboat",
        destination="reader.example.test",
        action="https://reader.example.test/callback",
        fields=(("error", "invalid_scope"), ("state", "s")),
    ),
    "error_back_to_app": authorization_response.ErrorBackPage(
        explanation="The scope is unknown.",
        application="Paperboat",
        destination="an app on this device (com.example.reader)",
        link="com.example.reader:/callback?error=invalid_scope",
    ),
    "form_post": authorization_response.FormPostPage(
        action="https://reader.example.test/callback",
        application="Paperboat",
        destination="reader.example.test",
        fields=(("code", "glog_ac_x"), ("state", '"><script>')),
    ),
    "error": templates.ErrorPage(title="Unknown application", explanation="Nothing was sent.", request_id="4f0OQ2b8"),
    "signed_in": account_pages.SignedInPage(
        **SOMEBODY, notice="Done.", name="Paul", logins=("paul", "paul@example.test"), since=SINCE, places=PLACES
    ),
    "places": account_pages.PlacesPage(**SOMEBODY, places=PLACES, end_others_action="/account/places/end-others"),
    "history": account_pages.HistoryPage(
        **SOMEBODY,
        happenings=(account_pages.Happening("You signed in.", SINCE, "Paperboat", "192.0.2.7", "Firefox"),),
        older_url="/account/history?after=x",
    ),
    "data": account_pages.DataPage(
        **SOMEBODY, export_action="/e", erase_action="/r", keep_action="/k", erasure_due=None, waiting_days=7
    ),
    "data_erased_soon": account_pages.DataPage(
        **SOMEBODY, export_action="/e", erase_action="/r", keep_action="/k", erasure_due=SINCE, waiting_days=7
    ),
    "own_password": account_pages.OwnPasswordPage(
        **SOMEBODY,
        action="/change",
        minimum=8,
        links=(account_pages.ShownLink("Corp", SINCE, "/account/password/unlink?name=corp"),),
        error="Wrong.",
    ),
    "leaving": sign_in.LeavingPage(title="Corp", url="https://corp.example/authorize?a=1&b=2"),
    "link_question": LinkQuestionPage(
        action="/account/upstream/link", csrf="token-c", title="Corp", email="paul@example.test"
    ),
    "notices": notices.NoticesPage(
        **SOMEBODY,
        email="paul@example.test",
        action="/account/notices",
        choices=(
            notices.NoticeChoice("contained", notices.MEANINGS["contained"], True),
            notices.NoticeChoice("factor_failed", notices.MEANINGS["factor_failed"], False),
        ),
    ),
    "email_address": email_address.EmailPage(
        **SOMEBODY,
        email="paul@example.test",
        verified=False,
        verify_action="/account/email/verify",
        action="/account/email",
        typed="p@example.test",
        error="Wrong.",
    ),
    "no_email_address": email_address.EmailPage(
        **SOMEBODY, email=None, verified=False, verify_action="/verify", action="/account/email"
    ),
    "confirm_address": email_address.ConfirmPage(
        action="/confirm", csrf="token-c", link="glog_ev_x", email="paul@example.test", changes=False
    ),
    "confirm_change": email_address.ConfirmPage(
        action="/confirm", csrf="token-c", link="glog_ev_x", email="paul@example.test", changes=True
    ),
    "address_confirmed": email_address.ConfirmedPage(waits=False, continue_url="/account/email"),
    "register": register.RegisterPage(action="/r", csrf="token-c", realm="platform", email="p", error="Wrong."),
    "registration_sent": register.RegistrationSentPage(in_files=True, continue_url="/account/sign-in"),
    "new_account": register.NewAccountPage(
        action="/r", csrf="token-c", link="glog_ev_x", email="p@example.test", username="p", minimum=12, error="Weak."
    ),
    "recover": recover.RecoverPage(action="/recover", csrf="token-c", realm="platform", username="p", error="Wrong."),
    "recovery_sent": recover.RecoverySentPage(minutes=15, in_files=True, continue_url="/account/sign-in"),
    "new_password": recover.NewPasswordPage(
        action="/set",
        csrf="token-c",
        link="glog_pr_x",
        username="paul",
        minimum=12,
        invited=False,
        error="Weak.",
        providers=("Corp",),
    ),
    "first_password": recover.NewPasswordPage(
        action="/set", csrf="token-c", link="glog_pr_x", username="paul", minimum=12, invited=True
    ),
    "password_done": recover.PasswordDonePage(continue_url="/account/sign-in", invited=False, providers=("Corp",)),
    "sign_out": account_pages.SignOutPage(action="/sign-out", csrf="token-c", username="paul", realm="platform"),
    "signed_out": templates.SignedOutPage(continue_url="/account/grants"),
    "account_grants": account_pages.AccountGrantsPage(
        **SOMEBODY,
        notice="Withdrawn.",
        grants=(
            account_pages.AllowedApplication(
                "Paperboat", SCOPES, ("email",), SINCE, SINCE + 60_000_000, "/account/grants/a"
            ),
            account_pages.AllowedApplication("Harbour", SCOPES[:1], (), SINCE, None, "/account/grants/b"),
        ),
    ),
    "account_grants_empty": account_pages.AccountGrantsPage(**SOMEBODY, grants=()),
    "dashboard": dashboard_pages.DashboardPage(
        slug="client",
        name="Client Dashboard",
        realm="platform",
        resume=True,
        recover_url="/account/recover?realm=platform",
        upstreams=(UpstreamButton("corp", "Corp"),),
    ),
    "reference": openapi.ReferencePage(
        version="1.2.3",
        groups=(
            openapi.Group(
                "OAuth",
                (
                    openapi.Operation(
                        method="POST",
                        path="/oauth/token",
                        summary="Get tokens",
                        description="Every grant type.",
                        access="client",
                        members=(openapi.Member("scope", "string", False, "Names."),),
                        media_types=("application/json",),
                        example="{}",
                        answers=(("200", "Tokens."),),
                        answer_example="{}",
                    ),
                ),
            ),
        ),
    ),
}
