"""Hashes that other systems made: read as they wrote them, matched as they did, and none that costs too much.

All were made by others: passlib's, and libcrypt's `$2y$` and `$7$`.
"""

import pytest
from argon2.exceptions import InvalidHashError

from security.password_hashes import TooDear, from_elsewhere, of_nobody, read
from security.passwords import Argon2Parameters, Hasher

PASSWORD = "correct horse"
SALT, DIGEST = "c2FsdHNhbHRzYWx0c2FsdA", "BBs+1+PaslLtBPULUr8/lQicvVuHiEPMz0i8MjLCbzM"
FOREIGN = {
    "$2a$04": "$2a$04$sQxzq1VItIm77y3dV7Y6eOiz2pk7p3r0edwP.1lwZ4bXdZ48Q5bWi",
    "$2b$04": "$2b$04$50szJhWHyNEaxApGrIWMTeTbwIrXESsLBVtOn8IbIdtlIsixpPG12",
    "$2y$04": "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
    "$pbkdf2-sha1$i=1000,l=20": "$pbkdf2$1000$././c2FsdHNhbHQ$WJjZDm1HKkEpGTQderY6Ms.2Hu4",
    "$pbkdf2-sha256$i=1000,l=32": f"$pbkdf2-sha256$1000${SALT}${DIGEST.replace('+', '.')}",
    "$pbkdf2-sha256$i=1000": f"$pbkdf2-sha256$i=1000,l=32${SALT}${DIGEST}",
    "$pbkdf2-sha512$i=1000,l=64": (
        "$pbkdf2-sha512$1000$c2FsdHNhbHRzYWx0c2FsdA"
        "$EHLBej.uEvxlmr0QnHnceg1vM6h1wbwSP5XErh3SmizNDWZsIi28RPGARe0EssjGRoiACzxgHjNvqwJY1zxKig"
    ),
    "$scrypt$ln=4,r=8,p=1": "$scrypt$ln=4,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$rkTI9fAgA7thDzzR8FHXhMiojYBreJBmYTkEzWypBCQ",
    "$scrypt$ln=14,r=8,p=1": "$7$C6..../....SodiumChloride$DDiXq9W.wa48NxjJa6vFZ3vzvwdnAYeTgzYDB94rqQ/",
    "$argon2i$v=19$m=64,t=2,p=2": f"$argon2i$v=19$m=64,t=2,p=2${SALT}$Um2tQKSMO+0XrtzC+8oOj5XIfVYiz90GkcRUBruZJKQ",
}
LONG = "$2b$04$DPS39SDlOqLPhyyJYnqFguaLXnoP9EpH/.U3PDWceGZbs54TuNCQW"
"""bcrypt's of 72 times `x`."""
LIGATURE = "$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA$ejHe/arEPzfgp68FUCJZr3GKTxN01v3NnWdw44VlF8A"
"""Of `ﬁsh`, as it was typed."""


@pytest.mark.parametrize("costs", FOREIGN)
def test_hash_of_another_system_matches_its_password_alone(costs: str) -> None:
    kept = from_elsewhere(FOREIGN[costs])
    assert kept.matches(PASSWORD.encode())
    for wrong in ("correct hors", "Correct horse", "", "correct horse "):
        assert not kept.matches(wrong.encode())


@pytest.mark.parametrize("costs", FOREIGN)
def test_hash_of_nobody_costs_the_same_and_matches_nothing(costs: str) -> None:
    kept = read(FOREIGN[costs])
    assert kept.costs.startswith(costs.replace("$2a", "$2b").replace("$2y", "$2b"))
    assert len(kept.costs) <= 64
    other = read(of_nobody(kept.costs))
    assert (other.costs, other.work) == (kept.costs, kept.work)
    assert not other.matches(PASSWORD.encode())


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "$",
        "correct horse",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/",
        "$2b$12$short",
        "$2b$03$50szJhWHyNEaxApGrIWMTeTbwIrXESsLBVtOn8IbIdtlIsixpPG12",
        "$2b$99$50szJhWHyNEaxApGrIWMTeTbwIrXESsLBVtOn8IbIdtlIsixpPG12",
        # The last letter of the salt has bits that no salt has.
        "$2b$04$50szJhWHyNEaxApGrIWMTfTbwIrXESsLBVtOn8IbIdtlIsixpPG12",
        f"$pbkdf2-md5$1000${SALT}${DIGEST}",
        f"$pbkdf2-sha256$0${SALT}${DIGEST}",
        f"$pbkdf2-sha256$1000${SALT}$c2hvcnQ",
        f"$pbkdf2-sha256$1000$!!!${DIGEST}",
        f"$pbkdf2-sha256$1000${SALT}",
        f"$pbkdf2-sha256$1000$c2E${DIGEST}",
        f"$scrypt$ln=0,r=8,p=1${SALT}${DIGEST}",
        f"$scrypt$ln=14,r=0,p=1${SALT}${DIGEST}",
        f"$scrypt$ln=14,r=8,p=0${SALT}${DIGEST}",
        f"$scrypt$ln=16,r=1,p=1${SALT}${DIGEST}",
        f"$scrypt$ln=99,r=8,p=1${SALT}${DIGEST}",
        "$7$C6..../....Sodium",
        f"$argon2id$v=19$m=7,t=2,p=1${SALT}${DIGEST}",
        f"$argon2id$v=19$m=64,t=0,p=1${SALT}${DIGEST}",
        f"$argon2id$v=19$m=64,t=2,p=9${SALT}${DIGEST}",
        f"$argon2id$v=19$m=64,t=2,p=1${SALT}$c2hvcnQ",
        f"$argon2id$v=19$m=64,t=2,p=1${SALT}$%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%",
        f"$argon2id$v=19$m=64,t=2${SALT}${DIGEST}",
        f"$argon2id$v=19$m=64,t= 2,p=1${SALT}${DIGEST}",
        f"$argon2id$v=18$m=64,t=2,p=1${SALT}${DIGEST}",
        f"$argon2id$v=19$m=64,t=2,p=1$c2FsdHM${DIGEST}",
        f"$argon2id$v=19$m=64,t=2,p=1${SALT}$Um2tQKSMO.0XrtzC.8oOj5XIfVYiz90GkcRUBruZJKQ",
        f"$argon2id$v=19$m=64,t=2,p=1${SALT}$Um2tQKSMO+0XrtzC+8oOj5XIfVYiz90GkcRUBruZJKR",
        f"$pbkdf2-sha256$1000${SALT}${'A' * 500}",
        "$2b$04$50szJhWHyNEaxApGrIWMTeTbwIrXESsLBVtOn8IbIdtlIsixpPG1é",
    ],
)
def test_what_is_no_hash_is_refused_by_its_form(encoded: str) -> None:
    with pytest.raises(InvalidHashError):
        from_elsewhere(encoded)


@pytest.mark.parametrize(
    ("most", "beyond"),
    [
        (LONG.replace("$04", "$14"), LONG.replace("$04", "$15")),
        (f"$pbkdf2-sha256$2000000${SALT}${DIGEST}", f"$pbkdf2-sha256$2000001${SALT}${DIGEST}"),
        (f"$pbkdf2$2000000${SALT}$" + "A" * 107, f"$pbkdf2$2000000${SALT}$" + "A" * 108),
        (f"$scrypt$ln=17,r=8,p=1${SALT}${DIGEST}", f"$scrypt$ln=18,r=8,p=1${SALT}${DIGEST}"),
        (f"$scrypt$ln=17,r=8,p=4${SALT}${DIGEST}", f"$scrypt$ln=17,r=8,p=5${SALT}${DIGEST}"),
        (f"$scrypt$ln=10,r=8,p=512${SALT}${DIGEST}", f"$scrypt$ln=10,r=8,p=513${SALT}${DIGEST}"),
        (f"$argon2id$v=19$m=262144,t=4,p=4${SALT}${DIGEST}", f"$argon2id$v=19$m=262145,t=1,p=1${SALT}${DIGEST}"),
        (f"$argon2id$v=19$m=65536,t=16,p=4${SALT}${DIGEST}", f"$argon2id$v=19$m=65536,t=17,p=4${SALT}${DIGEST}"),
        (f"$argon2id$v=19$m=65536,t=1,p=16${SALT}${DIGEST}", f"$argon2id$v=19$m=65536,t=1,p=17${SALT}${DIGEST}"),
    ],
)
def test_parameters_of_hashes_from_elsewhere_are_bounded(most: str, beyond: str) -> None:
    assert from_elsewhere(most).too_dear is None
    with pytest.raises(TooDear):
        from_elsewhere(beyond)


@pytest.fixture
def hasher():
    made = Hasher(Argon2Parameters(memory=64, passes=2, lanes=1))
    yield made
    made.close()


@pytest.mark.anyio
@pytest.mark.parametrize("costs", FOREIGN)
async def test_foreign_hash_is_to_become_argon2id(hasher: Hasher, costs: str) -> None:
    assert await hasher.verify(FOREIGN[costs], PASSWORD) == (True, True)
    assert await hasher.verify(FOREIGN[costs], "wrong horse") == (False, False)


@pytest.mark.anyio
async def test_bcrypt_never_counted_more_than_72_octets(hasher: Hasher) -> None:
    assert (await hasher.verify(LONG, "x" * 72)).ok
    assert (await hasher.verify(LONG, "x" * 90)).ok
    assert not (await hasher.verify(LONG, "x" * 71)).ok


@pytest.mark.anyio
async def test_others_hash_what_was_typed_and_we_its_normal_form(hasher: Hasher) -> None:
    assert await hasher.verify(LIGATURE, "ﬁsh") == (True, True)
    assert not (await hasher.verify(LIGATURE, "fish")).ok
    ours = await hasher.rehash("ﬁsh")
    assert await hasher.verify(ours, "fish") == (True, False)
    assert await hasher.verify(ours, "ﬁsh") == (True, False)


@pytest.mark.anyio
async def test_verified_password_is_rehashed_however_short(hasher: Hasher) -> None:
    with pytest.raises(ValueError, match="cannot become"):
        await hasher.hash("ﬁsh")
    with pytest.raises(ValueError, match="cannot have been"):
        await hasher.rehash("\ud800")
    assert (await hasher.verify(await hasher.rehash(""), "")).ok


class Looks:
    """Which hashes a hasher looks at, and how long it then works for nothing, by a clock that runs as each is said to
    take."""

    SECONDS = {"$2b$04": 0.4, "$argon2id$v=19$m=64,t=2,p=1": 0.1, "$pbkdf2-sha256$i=1000,l=32": 0.2}

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hasher: Hasher) -> None:
        self.now, self.looked_at, self.made_up = 0.0, list[str](), 0.0
        monkeypatch.setattr(hasher, "_matches", self._matches)
        monkeypatch.setattr("security.passwords.thread_time", lambda: self.now)
        monkeypatch.setattr("security.passwords.pbkdf2_hmac", self._work)

    def _matches(self, encoded: str, octets: bytes) -> bool:
        costs = read(encoded).costs
        self.looked_at.append(costs)
        self.now += self.SECONDS[costs]
        return octets == b"right"

    def _work(self, *_: object) -> None:
        self.now += 0.01
        self.made_up += 0.01


@pytest.mark.anyio
async def test_what_fails_costs_as_much_as_the_dearest(hasher: Hasher, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, ours = Looks(monkeypatch, hasher), of_nobody("$argon2id$v=19$m=64,t=2,p=1")
    cheaper = of_nobody("$pbkdf2-sha256$i=1000,l=32")
    # How long the dearest takes here is known once it was looked at.
    await hasher.verify(None, "wrong", like=ours, dearest="$2b$04")
    for encoded, like in ((FOREIGN["$2b$04"], None), (ours, None), (cheaper, None), (None, ours), (None, cheaper)):
        for typed, times in (("wrong", 1), ("wrﬁng", 2), ("x" * 5000, 1)):
            begun = looks.now
            assert not (await hasher.verify(encoded, typed, like=like or encoded, dearest="$2b$04")).ok
            assert looks.now - begun == pytest.approx(0.4 * times, abs=0.02), (encoded, like, typed)


@pytest.mark.anyio
async def test_right_password_costs_no_more_than_its_own_hash(hasher: Hasher, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch, hasher)
    assert (await hasher.verify(of_nobody("$argon2id$v=19$m=64,t=2,p=1"), "right", dearest="$2b$04")).ok
    assert (looks.looked_at, looks.made_up) == (["$argon2id$v=19$m=64,t=2,p=1"], 0.0)


@pytest.mark.anyio
async def test_dearer_hash_of_ones_own_needs_nothing_made_up(hasher: Hasher, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch, hasher)
    await hasher.verify(None, "wrong", dearest="$argon2id$v=19$m=64,t=2,p=1")
    assert not (await hasher.verify(FOREIGN["$2b$04"], "wrong", dearest="$argon2id$v=19$m=64,t=2,p=1")).ok
    assert looks.made_up == 0.0
