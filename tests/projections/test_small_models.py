"""Scopes, roles, consents and sessions; and that a replay in one batch gives the rows that single steps gave."""

from domain.account import AccountDisabled, AccountErased, AccountRegistered, PasswordChanged, ProfileChanged
from domain.client import Attributes, ClientUpdated
from domain.client_secret import SecretRevoked
from domain.consent import ConsentDenied, ConsentExtended, ConsentGiven, ConsentWithdrawn
from domain.role import Definition, RoleChanged, RoleDefined, RoleRetired
from domain.rules.built_in_scope import DESCRIPTIONS
from domain.scope import ScopeChanged, ScopeDefined, ScopeRetired
from domain.session import SessionEnded, SessionStarted
from domain.usage import Seen
from projections import consents, outbox, roles, scopes, sessions
from projections.tables import parse_sealed
from tests.domain.history import NOW
from tests.projections.conftest import Log
from tests.projections.test_clients import registered
from tests.projections.test_secrets import ISSUED, rotated, tokens


def test_scopes(log: Log) -> None:
    for name in ("b", "a", "c"):
        log.tell(f"scope:{name}", ScopeDefined(name=name, description=f"May {name}"))
    log.tell("scope:a", ScopeChanged(old="May a", new="May do a"))
    log.tell("scope:c", ScopeRetired())
    built_in = tuple(scopes.ScopeRow(name, DESCRIPTIONS[name]) for name in sorted(DESCRIPTIONS))
    ours = (scopes.ScopeRow("a", "May do a"), scopes.ScopeRow("b", "May b"))
    assert scopes.all_of(log.connection) == tuple(sorted((*ours, *built_in), key=lambda each: each.name))
    assert scopes.find(log.connection, "c") is None
    assert scopes.names(log.connection) == ("a", "b")
    first = scopes.page(log.connection, limit=1)
    assert (first.items[0].name, first.next) == ("a", "a")
    assert [s.name for s in scopes.page(log.connection, limit=1, after="a").items] == ["account"]


def test_a_built_in_scope_keeps_the_words_of_who_defined_it(log: Log) -> None:
    log.tell("scope:profile", ScopeDefined(name="profile", description="See your name"))
    assert scopes.find(log.connection, "profile") == scopes.ScopeRow("profile", "See your name")
    assert scopes.find(log.connection, "email") == scopes.ScopeRow("email", DESCRIPTIONS["email"])
    listed = {each.name: each.description for each in scopes.page(log.connection).items}
    assert listed == {**DESCRIPTIONS, "profile": "See your name"}
    assert [each.name for each in scopes.page(log.connection, after="openid", limit=1).items] == ["phone"]


def test_roles(log: Log) -> None:
    for realm, name, default in (
        ("platform", "member", True),
        ("administration", "reader", False),
        ("platform", "x", False),
    ):
        event = RoleDefined(realm=realm, name=name, scopes=("orders", f"{name}:read"), default=default)
        log.tell(f"role:{realm}:{name}", event)
    old = Definition(scopes=("orders", "x:read"), default=False)
    log.tell("role:platform:x", RoleChanged(old=old, new=Definition(scopes=("y",), default=True)))
    assert roles.find(log.connection, "platform", "x") == roles.RoleRow("platform", "x", ("y",), True)
    assert roles.names_of(log.connection, "platform") == ("member", "x")
    assert roles.may_name_scope(log.connection, "y") == [("platform", "x")]
    first = roles.page(log.connection, limit=2)
    assert [(r.realm, r.name) for r in first.items] == [("administration", "reader"), ("platform", "member")]
    assert [r.name for r in roles.page(log.connection, limit=2, after=first.next).items] == ["x"]
    log.tell("role:platform:x", RoleRetired())
    assert roles.names_of(log.connection, "platform") == ("member",)
    assert roles.may_name_scope(log.connection, "y") == []


def test_consents(log: Log) -> None:
    log.tell("consent:a1:c1", ConsentDenied(scope=("orders",)), ConsentGiven(scope=("orders",)))
    log.tell("consent:a1:c2", ConsentGiven(scope=("orders",)))
    log.tell("consent:a1:c1", ConsentExtended(added=("x",), scope=("orders", "x")), at=NOW + 5)
    assert consents.find(log.connection, "a1", "c1") == consents.ConsentRow("a1", "c1", ("orders", "x"), NOW, NOW + 5)
    assert consents.clients_of(log.connection, "a1", 1) == ((("c1", NOW),), "c1")
    assert consents.clients_of(log.connection, "a1", 1, "c1") == ((("c2", NOW),), None)
    assert consents.clients_of(log.connection, "a1", 9).items == (("c1", NOW), ("c2", NOW))
    log.tell("consent:a1:c1", ConsentWithdrawn())
    assert consents.find(log.connection, "a1", "c1") is None
    assert consents.clients_of(log.connection, "a1", 9).items == (("c2", NOW),)
    log.tell("consent:a1:c1", ConsentGiven(scope=("y",)), at=NOW + 9)
    assert consents.find(log.connection, "a1", "c1") == consents.ConsentRow("a1", "c1", ("y",), NOW + 9, NOW + 9)
    log.tell("account:a1", AccountErased())
    assert consents.clients_of(log.connection, "a1", 9).items == ()


def test_sessions(log: Log) -> None:
    for number in (1, 2, 3):
        event = SessionStarted(account_id="a1", realm="platform", sha256=f"{number}{number}" * 32, lifetime=number)
        log.tell(f"session:s{number}", event)
    assert sessions.id_by_digest(log.connection, bytes.fromhex("22" * 32)) == "s2"
    log.tell("session:s2", SessionEnded(reason="signed_out"))
    assert sessions.id_by_digest(log.connection, bytes.fromhex("22" * 32)) is None
    assert sessions.prune(log.connection, NOW + 9_000_000, limit=1) == 1
    assert sessions.prune(log.connection, NOW + 9_000_000) == 1
    assert sessions.prune(log.connection, NOW + 9_000_000) == 0


def test_a_sealed_reference_can_be_taken_apart() -> None:
    value = parse_sealed("event-1|owner|s1.client:c1.2026-11.abc")
    assert value is not None
    assert (value.event_id, value.field, value.text) == ("event-1", "owner", "s1.client:c1.2026-11.abc")
    assert parse_sealed(None) is None


def test_a_replay_in_one_batch_gives_the_same_rows(log: Log) -> None:
    person = AccountRegistered(realm="platform", username="ada", email=None, password_hash="$1", roles=("member",))
    log.tell("client:c1", registered(), ISSUED)
    log.tell("grant:g1", tokens("s1"), at=NOW + 1)
    log.tell("client:c2", registered("Two"))
    log.tell("account:a1", person, username=b"a" * 32)
    log.tell("client:c1", rotated(2, 60), at=NOW + 2)
    log.tell("client:c1", rotated(3, 9), at=NOW + 2)
    log.tell("usage:s2", Seen(client_id="c1", via="introspection", count=3, window_seconds=60), at=NOW + 3)
    log.tell("usage:s1", Seen(client_id="c1", via="introspection", count=4, window_seconds=60), at=NOW + 4)
    log.tell("client:c1", SecretRevoked(secret_id="s1", tokens="keep"), at=NOW + 5)
    log.tell("client:c1", SecretRevoked(secret_id="s1", tokens="revoke"), at=NOW + 6)
    log.tell("client:c1", ClientUpdated(new=Attributes(realm="administration", client_name="Moved")), at=NOW + 7)
    log.tell("consent:a1:c1", ConsentGiven(scope=("orders",)))
    log.tell("consent:a1:c1", ConsentWithdrawn())
    log.tell("consent:a1:c1", ConsentGiven(scope=("x",)), at=NOW + 8)
    log.tell("account:a1", PasswordChanged(password_hash="$2", except_grant="g1"))
    log.tell("account:a1", ProfileChanged(username="eve"), username=b"e" * 32)
    log.tell("account:a1", AccountDisabled())
    log.tell("account:a2", person, username=b"a" * 32)
    log.tell("account:a2", AccountErased())
    lived = log.rows()
    assert any(lived["secret_uses"])
    log.replay()
    assert log.rows() == lived


def test_more_events_than_a_statement_can_name(log: Log) -> None:
    assert outbox.undelivered_of(log.connection, range(70_000)) == {}
