"""Cut-offs that end tokens and nothing else, and the suspension of all issuance."""

import pytest

from domain import account as account_page
from domain import client as client_page
from domain import client_secret as secret_page
from domain import cut_off as cut_off_page
from domain import server as server_page
from domain import session as session_page
from domain.client import ClientDeleted
from domain.client_secret import SecretIssued, SecretRevoked, SecretRotated
from domain.cut_off import AccountTokensEnded, ClientTokensEnded, Window
from domain.decision import NotFound
from domain.grants import validity as validity_page
from domain.server import IssuanceResumed, IssuanceSuspended
from tests.domain.history import NOW, given, loosely, record
from tests.domain.rules.test_client_registration import STREAM, registered

account, client, cut_off = loosely(account_page), loosely(client_page), loosely(cut_off_page)
client_secret, server, session = loosely(secret_page), loosely(server_page), loosely(session_page)
validity = loosely(validity_page)

SINCE = ClientTokensEnded(first=5, since_at=NOW)
REGISTERED = account_page.AccountRegistered(realm="platform")
ISSUED = SecretIssued(secret_id="s1", version=1, sha256="11" * 32)
ROTATED = SecretRotated(secret_id="s2", version=2, sha256="22" * 32)


def test_a_client_keeps_its_secrets_and_stays_enabled() -> None:
    state = given(client, STREAM, registered())
    assert client.end_tokens(state, now=NOW, first=5, since_at=NOW).events == (SINCE,)
    cut = given(client, STREAM, registered(), SINCE)
    assert (cut.enabled, cut.cutoff, cut.windows) == (True, 0, (Window(5, 2),))
    assert client.end_tokens(client.INITIAL, now=NOW).refusal.reason is NotFound.UNKNOWN
    assert client.end_tokens(given(client, STREAM, registered(), ClientDeleted()), now=NOW).events == ()


def test_a_cut_off_of_everything_leaves_nothing_to_those_before() -> None:
    whole = ClientTokensEnded()
    one = ClientTokensEnded(secret_id="s1")
    assert given(client, STREAM, registered(), SINCE, one).windows == (Window(5, 2), Window(0, 3, "s1"))
    assert given(client, STREAM, registered(), SINCE, one, whole).windows == (Window(0, 4),)


def test_one_since_a_moment_revives_nothing_that_ended_before() -> None:
    first, later = ClientTokensEnded(first=1, since_at=NOW), ClientTokensEnded(first=3, since_at=NOW)
    state = given(client, STREAM, registered(), first, ISSUED, later)
    assert state.windows == (Window(1, 2), Window(3, 4))
    token = validity.TokenStanding("access", 1, NOW, NOW + 60)
    assert validity.cause(validity.Standing(token, "g", validity.of_client(state, "s1")), NOW) == "contained"


def test_who_authenticated_by_no_secret_has_lost_none() -> None:
    state = given(client, STREAM, registered(), ClientTokensEnded(first=1, since_at=NOW))
    token = validity.TokenStanding("access", 1, NOW, NOW + 60)
    assert validity.cause(validity.Standing(token, "g", validity.of_client(state, None)), NOW) == "contained"


def test_a_person_may_sign_in_again() -> None:
    state = given(account, "account:a", REGISTERED)
    (event,) = account.end_tokens(state, now=NOW).events
    assert event == AccountTokensEnded()
    cut = given(account, "account:a", REGISTERED, event)
    assert (cut.enabled, cut.windows) == (True, (Window(0, 2),))
    assert account.end_tokens(account.INITIAL, now=NOW).refusal.reason is NotFound.UNKNOWN
    erased = given(account, "account:a", REGISTERED, account_page.AccountErased())
    assert account.end_tokens(erased, now=NOW).events == ()


@pytest.mark.parametrize(("started", "live"), [(1, False), (2, True)])
def test_browser_sessions_end_with_a_persons_tokens(started, live) -> None:
    person = given(account, "account:a", REGISTERED, AccountTokensEnded())
    state = session_page.State(exists=True, account_id="a", expires=NOW + 10, started=started)
    assert session.is_live(state, person, NOW) is live


@pytest.mark.parametrize(
    ("window", "position", "cause"),
    [
        (ClientTokensEnded(first=5), 4, "active"),
        (ClientTokensEnded(first=5), 5, "contained"),
        (ClientTokensEnded(first=5), 9, "contained"),
        (ClientTokensEnded(first=5), 10, "active"),
        (ClientTokensEnded(secret_id="s1"), 9, "secret_ended"),
        (ClientTokensEnded(secret_id="s2"), 9, "active"),
    ],
)
def test_what_was_issued_within_it_is_dead(window, position, cause) -> None:
    state = client.evolve(client_page.State(exists=True, enabled=True), record(window, STREAM, 10))
    token = validity.TokenStanding("access", position, NOW, NOW + 60)
    standing = validity.Standing(token, "g", validity.of_client(state, "s1"))
    assert validity.cause(standing, NOW) == cause
    contract = {"contained": "grant_ended"}
    assert validity.reason(standing, NOW) == contract.get(cause, cause)


def test_every_living_version_ends_and_no_token_of_it() -> None:
    state = given(client, STREAM, registered(), ISSUED, ROTATED)
    assert client_secret.revoke_all(state, now=NOW).events == (
        SecretRevoked(secret_id="s1", tokens="keep"),
        SecretRevoked(secret_id="s2", tokens="keep"),
    )
    over = given(client, STREAM, registered(), ISSUED, SecretRevoked(secret_id="s1", tokens="keep"))
    assert client_secret.revoke_all(over, now=NOW).events == ()
    assert client_secret.revoke_all(client.INITIAL, now=NOW).refusal.reason is NotFound.UNKNOWN


def test_a_version_that_was_forgotten_needs_no_end() -> None:
    state = given(client, STREAM, registered(), ISSUED)
    assert client_secret.contain(state, now=NOW, secret_id="long ago", tokens="revoke").events == ()
    assert len(client_secret.contain(state, now=NOW, secret_id="s1", tokens="revoke").events) == 1


def test_issuance_is_suspended_and_resumed_once_each() -> None:
    assert server.suspend_issuance(server.INITIAL, now=NOW).events == (IssuanceSuspended(),)
    assert server.resume_issuance(server.INITIAL, now=NOW).events == ()
    frozen = given(server, "server", IssuanceSuspended())
    assert frozen.suspended_at == NOW
    assert server.suspend_issuance(frozen, now=NOW).events == ()
    assert server.resume_issuance(frozen, now=NOW).events == (IssuanceResumed(),)
    assert given(server, "server", IssuanceSuspended(), IssuanceResumed()).suspended_at is None
