"""Passwords that people change themselves: the present one is asked for, and what is soon guessed is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.cases import cases
from tests.scenarios.administration import administering, ok, problem
from tests.scenarios.dashboards.platform import Dashboard, make_dashboard
from tests.scenarios.world import PASSWORD, Person, World

NEW = "quite another password"
WRONG = "not her password at all"

SignIn = Callable[[], Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def ada(world: World) -> Person:
    await world.define_role("administration", "administrator", "people:write")
    return await world.register_person("ada", realm="administration", roles_of=("administrator",))


@pytest.fixture
async def board(world: World) -> Dashboard:
    return await make_dashboard(world, "board", realm="administration", scope=("people:write",))


@pytest.fixture
async def admin(world: World) -> httpx.AsyncClient:
    return await administering(world)


@pytest.fixture
async def eve(admin: httpx.AsyncClient) -> dict[str, Any]:
    made: dict[str, Any] = ok(await admin.post("/admin/people", json=EVE | {"roles": []}), 201)
    return made


@pytest.fixture
def sign_in(world: World, board: Dashboard, ada: Person) -> SignIn:
    async def sign_in() -> httpx.AsyncClient:
        token, _ = await board.sign_in(ada)
        return world.caller(headers={"authorization": f"Bearer {token}"})

    return sign_in


def path(who: Person) -> str:
    return f"/admin/people/{who.account_id}/password"


async def test_present_password_changes_it_and_its_grant_lives_on(
    world: World, board: Dashboard, ada: Person, sign_in: SignIn
) -> None:
    one, other = await sign_in(), await sign_in()
    before = await world.head()
    ok(await one.post(path(ada), json={"password": NEW, "current_password": PASSWORD}), 204)
    (changed,) = await world.events(after=before)
    assert (changed.type, changed.actor.id) == ("account.password_changed", ada.account_id)
    assert changed.actor.credential == {"grant_id": changed.event.except_grant}
    assert NEW not in str(changed)
    assert PASSWORD not in str(changed)
    problem(await other.post(path(ada), json={"password": PASSWORD, "current_password": NEW}), 401)
    ok(await one.post(path(ada), json={"password": PASSWORD, "current_password": NEW}), 204)
    assert (await board.login(ada)).status_code == 200


@pytest.mark.parametrize("given", [{}, {"current_password": None}])
async def test_without_the_present_password_nothing_changes(
    world: World, board: Dashboard, ada: Person, sign_in: SignIn, given: dict[str, None]
) -> None:
    one = await sign_in()
    before = await world.head()
    answer = await one.post(path(ada), json={"password": NEW} | given)
    assert "is needed" in problem(answer, 400, field="current_password")["errors"][0]["detail"]
    assert await world.head() == before
    assert (await board.login(ada)).status_code == 200


async def test_wrong_present_password_is_a_throttled_failed_sign_in(
    world: World, board: Dashboard, ada: Person, sign_in: SignIn
) -> None:
    one = await sign_in()
    before = await world.head()
    for _ in range(world.settings.sign_in_free):
        answer = await one.post(path(ada), json={"password": NEW, "current_password": WRONG})
        body = problem(answer, 400, field="current_password")
        assert WRONG not in answer.text
        assert NEW not in answer.text
        assert body["errors"][0]["detail"] == "is not the present password"
    (failed,) = await world.events(after=before)
    assert (failed.type, failed.stream) == ("account.sign_in_failed", f"account:{ada.account_id}")
    assert (failed.event.reason, failed.event.count) == ("wrong_password", 1)
    assert failed.actor.id == ada.account_id
    assert failed.actor.credential is not None
    # The right one is not looked at now, neither here nor at the sign-in.
    answer = await one.post(path(ada), json={"password": NEW, "current_password": PASSWORD})
    wait = problem(answer, 429)["retry_after"]
    assert answer.headers["retry-after"] == str(wait)
    assert (await board.login(ada)).status_code == 429
    assert await world.types_after(before) == ["account.sign_in_failed"]
    await world.services.repeated_facts.close_elapsed(everything=True)
    counted = await world.events("account.sign_in_failed", after=before)
    assert [each.event.count for each in counted] == [1, world.settings.sign_in_free - 1]
    # Nobody else is slowed, and who waits is let in.
    assert (await board.login(ada, by=world.caller("198.51.100.9"))).status_code == 200
    world.clock.advance(wait)
    ok(await one.post(path(ada), json={"password": NEW, "current_password": PASSWORD}), 204)


async def test_failed_sign_ins_count_and_the_present_password_resets(
    world: World, board: Dashboard, ada: Person, sign_in: SignIn
) -> None:
    one = await sign_in()
    for _ in range(world.settings.sign_in_free - 1):
        assert (await board.login(ada, password=WRONG)).status_code == 401
    ok(await one.post(path(ada), json={"password": NEW, "current_password": PASSWORD}), 204)
    for _ in range(world.settings.sign_in_free - 1):
        assert (await board.login(ada, password=WRONG)).status_code == 401
    assert (await board.login(ada, password=NEW)).status_code == 200


async def test_of_two_changes_by_the_same_password_one_is_refused(world: World, ada: Person, sign_in: SignIn) -> None:
    callers = [await sign_in(), await sign_in()]
    before = await world.head()
    answers = await asyncio.gather(
        *(
            caller.post(path(ada), json={"password": f"{NEW} {place}", "current_password": PASSWORD})
            for place, caller in enumerate(callers)
        )
    )
    # The one that was refused belongs to a grant that has ended by then, or its password is the present one no more.
    assert sorted(answer.status_code for answer in answers) in ([204, 400], [204, 401])
    assert (await world.types_after(before)).count("account.password_changed") == 1


async def test_repeat_by_idempotency_key_is_answered_after_the_change(
    world: World, ada: Person, sign_in: SignIn
) -> None:
    one = await sign_in()
    body = {"password": NEW, "current_password": PASSWORD}
    before = await world.head()
    for _ in range(2):
        ok(await one.post(path(ada), json=body, headers={"idempotency-key": "change-1"}), 204)
    assert await world.types_after(before) == ["account.password_changed"]


async def test_whoever_sets_anothers_password_is_asked_for_none(world: World, ada: Person, sign_in: SignIn) -> None:
    other = await world.register_person("eva", realm="administration", roles_of=("administrator",))
    one = await sign_in()
    before = await world.head()
    ok(await one.post(path(other), json={"password": NEW}), 204)
    ok(await one.post(path(other), json={"password": NEW, "current_password": WRONG}), 204)
    assert await world.types_after(before) == ["account.password_changed"] * 2


# What is soon guessed -------------------------------------------------------------------------------------------------

EVE = {"realm": "platform", "username": "quillfeather", "email": "q.marchbanks@example.test", "name": "Eve Ødegård"}
PLATFORM = "a name of the person or of this server"


@cases(
    ("password", "why"),
    [
        ("password1234", "a password that many people have"),
        ("internationally", "one common word"),
        ("aaaaaaaaaaaa", "repeats itself"),
        ("Quillfeather1", PLATFORM),
        ("ＱＵＩＬＬＦＥＡＴＨＥＲ", PLATFORM),
        ("q.Marchbanks", PLATFORM),
        ("Ødegård, Eve", PLATFORM),
        ("grantlog2026", PLATFORM),
        ("The board dashboard", PLATFORM),
        ("a" * 72 + "gx7r-p2mq-9vtk", "repeats itself"),
        ("x" * 129, "128"),
    ],
)
@pytest.mark.usefixtures("board")
async def test_guessable_password_is_refused_with_its_reason(
    world: World, admin: httpx.AsyncClient, eve: dict[str, Any], password: str, why: str
) -> None:
    before = await world.head()
    new: dict[str, Any] = {"username": None, "email": None} | EVE | {"roles": []}
    for answer in (
        await admin.post(f"/admin/people/{eve['id']}/password", json={"password": password}),
        await admin.post("/admin/people", json=new | {"password": password}),
    ):
        assert why in problem(answer, 400, field="password")["errors"][0]["detail"]
        assert password not in answer.text
    assert await world.head() == before


@pytest.mark.parametrize(
    "password", ["日本語のパスワードです長い", "søvnløs i Århus", "gx7r-p2mq-9vtk", "ж🔑" * 3 + " кот и дом" * 12]
)
async def test_any_letters_will_do_and_none_are_demanded(world: World, password: str) -> None:
    admin = await administering(world)
    made = ok(await admin.post("/admin/people", json=EVE | {"roles": [], "password": password}), 201)
    ok(await admin.post(f"/admin/people/{made['id']}/password", json={"password": password}), 204)


async def test_a_persons_own_new_password_is_measured_too(world: World, ada: Person, sign_in: SignIn) -> None:
    one = await sign_in()
    before = await world.head()
    for given in ("ada@example.test", "Ada@Example.Test1", "aaaaaaaaaaaa"):
        answer = await one.post(path(ada), json={"password": given, "current_password": PASSWORD})
        problem(answer, 400, field="password")
    assert await world.head() == before


async def test_too_many_measured_at_once_is_503_and_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await administering(world)
    monkeypatch.setattr(world.services.strength, "_room", 0)
    before = await world.head()
    answer = await admin.post("/admin/people", json=EVE | {"roles": [], "password": NEW})
    problem(answer, 503)
    assert answer.headers["retry-after"]
    assert await world.head() == before
