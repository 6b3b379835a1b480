"""People: found by blind index, erased without a trace of their names, and how many administrators are left."""

from domain.account import Disabled, Enabled, Erased, ProfileChanged, Registered, RolesChanged
from domain.role import Changed, Defined, Definition
from projections import accounts
from tests.domain.history import NOW
from tests.projections.conftest import Log

ADA, BOB, MAIL = b"a" * 32, b"b" * 32, b"m" * 32


def person(realm: str = "administration", roles: tuple[str, ...] = ()) -> Registered:
    return Registered(
        realm=realm, username="ada", email="ada@example.test", name="Ada", password_hash="$1", roles=roles
    )


def test_a_person_is_found_by_login_name_in_their_realm(log: Log) -> None:
    log.tell("account:a1", person(roles=("reader",)), username=ADA, email=MAIL)
    found = accounts.by_username(log.connection, ADA, "administration")
    assert found == accounts.Account(
        account_id="a1",
        position=1,
        realm="administration",
        username="event-1|username|s1.ada",
        email="event-1|email|s1.ada@example.test",
        name="event-1|name|s1.Ada",
        roles=("reader",),
        state="enabled",
        created_at=NOW,
        updated_at=NOW,
    )
    assert accounts.by_email(log.connection, MAIL, "administration") == found == accounts.by_id(log.connection, "a1")
    assert accounts.by_username(log.connection, ADA, "platform") is None
    assert accounts.by_username(log.connection, MAIL, "administration") is None


def test_new_names_are_found_and_old_ones_not(log: Log) -> None:
    log.tell("account:a1", person(), username=ADA, email=MAIL)
    log.tell("account:a1", ProfileChanged(username="bob", removed=("email", "name")), at=NOW + 3, username=BOB)
    assert accounts.by_username(log.connection, ADA, "administration") is None
    assert accounts.by_email(log.connection, MAIL, "administration") is None
    found = accounts.by_username(log.connection, BOB, "administration")
    assert found is not None
    assert (found.username, found.email, found.name) == ("event-2|username|s1.bob", None, None)
    assert found.updated_at == NOW + 3


def test_the_erased_keep_a_row_without_names(log: Log) -> None:
    log.tell("account:a1", person(), username=ADA, email=MAIL)
    log.tell("account:a1", Erased())
    assert accounts.by_username(log.connection, ADA, "administration") is None
    found = accounts.by_id(log.connection, "a1")
    assert found is not None
    assert (found.state, found.username, found.email, found.name) == ("erased", None, None, None)
    assert accounts.page(log.connection).items == ()
    log.tell("account:a2", person(), username=ADA, email=MAIL)
    assert (again := accounts.by_username(log.connection, ADA, "administration")) is not None
    assert again.account_id == "a2"


def test_pages_by_realm(log: Log) -> None:
    for number in range(4):
        log.tell(f"account:a{number}", person("platform" if number % 2 else "administration"))
    first = accounts.page(log.connection, limit=3)
    assert [a.account_id for a in first.items] == ["a0", "a1", "a2"]
    assert [a.account_id for a in accounts.page(log.connection, limit=3, after=first.next).items] == ["a3"]
    assert [a.account_id for a in accounts.page(log.connection, realm="platform").items] == ["a1", "a3"]


def test_administrators_are_enabled_people_of_administration_who_can_make_others(log: Log) -> None:
    def left(**without: str) -> int:
        return accounts.administrators_left(log.connection, **without)

    def role(name: str, *scopes: str, realm: str = "administration") -> None:
        log.tell(f"role:{realm}:{name}", Defined(realm=realm, name=name, scopes=scopes, default=False))

    assert left() == 0
    role("owner", "people:write")
    role("deputy", "people:write", "profile")
    role("own_r", "profile")
    role("owner", "profile", realm="platform")
    log.tell("account:a1", person(roles=("owner",)))
    assert accounts.is_last_administrator(log.connection, "a1")
    assert accounts.is_last_administrators_role(log.connection, "administration", "owner")
    assert not accounts.is_last_administrators_role(log.connection, "platform", "owner")
    log.tell("account:a2", person(roles=("own_r",)))
    log.tell("account:a3", person("platform", roles=("owner",)))
    assert left() == 1
    assert not accounts.is_last_administrator(log.connection, "a2")
    log.tell("account:a2", RolesChanged(old=("own_r",), new=("own_r", "deputy")))
    assert (left(), left(without_account="a1"), left(without_role="owner")) == (2, 1, 1)
    assert not accounts.is_last_administrator(log.connection, "a1")
    log.tell("account:a2", Disabled())
    assert accounts.is_last_administrator(log.connection, "a1")
    log.tell("account:a2", Enabled())
    old, new = Definition(scopes=("people:write",), default=False), Definition(scopes=(), default=False)
    log.tell("role:administration:owner", Changed(old=old, new=new))
    assert left() == 1
    assert accounts.is_last_administrators_role(log.connection, "administration", "deputy")


def test_whether_anybody_has_a_role(log: Log) -> None:
    log.tell("account:a1", person("platform", roles=("member",)))
    assert accounts.having_role(log.connection, "platform", "member")
    assert not accounts.having_role(log.connection, "platform", "memb")
    assert not accounts.having_role(log.connection, "administration", "member")
    log.tell("account:a1", Erased())
    assert not accounts.having_role(log.connection, "platform", "member")
