"""People whose passwords another system hashed: they sign in as ever, and nobody can tell them by the time it takes."""

import pytest

from commands import people
from commands.permissions import operator
from domain.people.passwords import ForeignHash
from projections.people import foreign_hashes
from security.password_hashes import from_elsewhere, read
from security.tokens import new_id
from tests.scenarios.asking import SIGN_IN, Scene
from tests.scenarios.world import Person

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse"
BCRYPT = "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
PBKDF2 = "$pbkdf2$1000$././c2FsdHNhbHQ$WJjZDm1HKkEpGTQderY6Ms.2Hu4"


async def moved_in(scene: Scene, username: str, encoded: str, realm: str = "platform") -> Person:
    """A person with a hash from elsewhere."""
    kept, account_id = from_elsewhere(encoded), new_id()
    person = people.PersonRegistration(
        realm=realm,
        username=username,
        email=None,
        password_hash=encoded,
        foreign_hash=ForeignHash(kept.costs, kept.work),
    )
    privacy = scene.world.services.ledger.privacy
    await scene.world.execute(people.register(account_id, person, privacy=privacy, by=operator))
    return Person(account_id, realm, username, PASSWORD)


async def press(scene: Scene, username: str, password: str) -> int:
    browser = scene.world.browser()
    page = await browser.open(scene.address())
    return (await browser.press(page, SIGN_IN, username=username, password=password)).status


async def dearest(scene: Scene, realm: str = "platform") -> str | None:
    return await scene.world.services.ledger.read(foreign_hashes.id_of_dearest, realm)


async def test_the_first_sign_in_makes_argon2id_of_it(scene: Scene) -> None:
    petra = await moved_in(scene, "petra", BCRYPT)
    assert await press(scene, "petra", "wrong horse") == 401
    assert await scene.world.events("account.password_rehashed") == ()
    assert await dearest(scene) == petra.account_id
    for _ in range(2):
        assert await press(scene, "petra", PASSWORD) == 200
    (rehashed,) = await scene.world.events("account.password_rehashed")
    encoded = await scene.world.services.ledger.unseal(
        (await scene.world.services.ledger.state(rehashed.stream)).password_hash
    )
    assert encoded.startswith("$argon2id$")
    assert await dearest(scene) is None


async def test_password_shorter_than_ours_may_be_still_signs_in(scene: Scene) -> None:
    await moved_in(scene, "petra", "$2b$05$abcdefghijklmnopqrstuuhKF09ZYWwH2zP/0fwE1X8e/Q1YNx/hO")
    assert await press(scene, "petra", "x") == 200
    assert await press(scene, "petra", "x") == 200
    assert len(await scene.world.events("account.password_rehashed")) == 1


async def test_event_tells_the_kind_of_a_hash_and_nothing_of_it(scene: Scene) -> None:
    petra = await moved_in(scene, "petra", BCRYPT)
    (registered,) = await scene.world.events("account.registered", stream=f"account:{petra.account_id}")
    assert registered.event.foreign_hash == ForeignHash("$2b$04", 960)
    assert registered.event.password_hash != BCRYPT


async def test_whoever_fails_costs_the_dearest_in_the_realm(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    petra, _ = await moved_in(scene, "petra", BCRYPT), await moved_in(scene, "paula", PBKDF2)
    await moved_in(scene, "ada", BCRYPT.replace("$04", "$06"), realm="administration")
    assert await dearest(scene) == petra.account_id
    hasher, asked = scene.world.services.hasher, list[tuple[str, str | None]]()
    look = hasher._look

    def observed(encoded: str, typed: list[bytes], dearest: str | None) -> bytes | None:
        asked.append((read(encoded).costs, dearest))
        return look(encoded, typed, dearest)

    monkeypatch.setattr(hasher, "_look", observed)
    for name in ("petra", "paula", scene.person.username, "nobody", "aaa", "zzz"):
        assert await press(scene, name, "wrong horse") == 401
    assert {dearest for _, dearest in asked} == {"$2b$04"}
    assert asked[0][0] == "$2b$04"
    assert asked[1][0] == "$pbkdf2-sha1$i=1000,l=20"
    # Names that nobody has stand in for somebody of the realm.
    own = read(await hasher.hash(scene.person.password)).costs
    assert {costs for costs, _ in asked[2:]} <= {"$2b$04", "$pbkdf2-sha1$i=1000,l=20", own}


async def test_changed_password_and_erased_person_leave_no_dear_hash(scene: Scene) -> None:
    world = scene.world
    petra, paula = await moved_in(scene, "petra", BCRYPT), await moved_in(scene, "paula", PBKDF2)
    ours = await world.services.hasher.hash("quite another password")
    await world.execute(people.set_password(petra.account_id, ours, by=operator))
    assert await dearest(scene) == paula.account_id
    await world.execute(people.erase(paula.account_id, vault=world.services.ledger.vault))
    assert await dearest(scene) is None
