"""People: where a blind index leads, and erased without a trace of their names."""

from domain.account import AccountErased, AccountRegistered, ProfileChanged
from projections import accounts
from tests.domain.history import NOW
from tests.projections.conftest import Log

ADA, BOB, MAIL = b"a" * 32, b"b" * 32, b"m" * 32


def person(realm: str = "administration", roles: tuple[str, ...] = ()) -> AccountRegistered:
    return AccountRegistered(
        realm=realm, username="ada", email="ada@example.test", name="Ada", password_hash="$1", roles=roles
    )


def by(log: Log, field: str, index: bytes, realm: str = "administration") -> str | None:
    return accounts.id_by_index(log.connection, field, index, realm)


def test_a_person_is_found_by_login_name_in_their_realm(log: Log) -> None:
    log.tell("account:a1", person(roles=("reader",)), username=ADA, email=MAIL)
    assert by(log, "username", ADA) == by(log, "email", MAIL) == "a1"
    assert accounts.by_id(log.connection, "a1") == accounts.AccountRow(
        account_id="a1",
        position=1,
        realm="administration",
        username="event-1|username|s1.ada",
        email="event-1|email|s1.ada@example.test",
        name="event-1|name|s1.Ada",
        claims={},
        roles=("reader",),
        state="enabled",
        created_at=NOW,
        updated_at=NOW,
    )
    assert by(log, "username", ADA, "platform") is None
    assert by(log, "username", MAIL) is None


def test_new_names_are_found_and_old_ones_not(log: Log) -> None:
    log.tell("account:a1", person(), username=ADA, email=MAIL)
    log.tell("account:a1", ProfileChanged(username="bob", removed=("email", "name")), at=NOW + 3, username=BOB)
    assert by(log, "username", ADA) is None
    assert by(log, "email", MAIL) is None
    assert by(log, "username", BOB) == "a1"
    found = accounts.by_id(log.connection, "a1")
    assert found is not None
    assert (found.username, found.email, found.name) == ("event-2|username|s1.bob", None, None)
    assert found.updated_at == NOW + 3


def test_the_erased_keep_a_row_without_names(log: Log) -> None:
    log.tell("account:a1", person(), username=ADA, email=MAIL)
    log.tell("account:a1", AccountErased())
    assert by(log, "username", ADA) is None
    found = accounts.by_id(log.connection, "a1")
    assert found is not None
    assert (found.state, found.username, found.email, found.name) == ("erased", None, None, None)
    assert accounts.page(log.connection).items == ()
    log.tell("account:a2", person(), username=ADA, email=MAIL)
    assert by(log, "username", ADA) == "a2"


def test_pages_by_realm(log: Log) -> None:
    for number in range(4):
        log.tell(f"account:a{number}", person("platform" if number % 2 else "administration"))
    first = accounts.page(log.connection, limit=3)
    assert [a.account_id for a in first.items] == ["a0", "a1", "a2"]
    assert [a.account_id for a in accounts.page(log.connection, limit=3, after=first.next).items] == ["a3"]
    assert [a.account_id for a in accounts.page(log.connection, realm="platform").items] == ["a1", "a3"]


def test_whose_rows_give_them_a_role(log: Log) -> None:
    def having(realm: str, role: str) -> list[str]:
        return list(accounts.ids_with_role(log.connection, realm, role))

    log.tell("account:a1", person("platform", roles=("member",)))
    log.tell("account:a2", person("platform", roles=("other", "member")))
    assert having("platform", "member") == ["a1", "a2"]
    assert having("platform", "memb") == having("administration", "member") == []
    log.tell("account:a1", AccountErased())
    assert having("platform", "member") == ["a2"]


def test_whoever_has_a_name_or_comes_after_it_is_one_question(log: Log) -> None:
    def nearest(index: bytes, field: str = "username") -> str | None:
        return accounts.id_nearest(log.connection, field, index, "administration")

    assert nearest(ADA) is None
    log.tell("account:a1", person(), username=ADA, email=MAIL)
    log.tell("account:b1", person(), username=BOB)
    log.tell("account:p1", person(realm="platform"), username=b"b" * 31 + b"c")
    asked = (b"0" * 32, ADA, b"aab", BOB, b"c" * 32)
    assert [nearest(index) for index in asked] == ["a1", "a1", "b1", "b1", "a1"]
    assert [nearest(index, "email") for index in (MAIL, BOB, b"z" * 32)] == ["a1", "a1", "a1"]
