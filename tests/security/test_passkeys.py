"""Passkeys: what an authenticator signs is verified, and whatever else comes is refused without a fault of ours."""

import copy

import pytest

from security import passkeys
from security.passkeys import NotVerified
from tests.scenarios.signing_in.authenticator import Authenticator, coded

RP, ORIGIN = "login.example", "https://login.example"
CHALLENGE = bytes(range(40))


def made(device):
    options = passkeys.registration_options(RP, handle="a1", name="paul", challenge=CHALLENGE, existing=[])
    return device.create(options)


def registered(device, **changes):
    given = {"challenge": CHALLENGE, "rp_id": RP, "origins": [ORIGIN]} | changes
    return passkeys.verify_registration(made(device), **given)


def signed(device):
    return device.get(passkeys.authentication_options(RP, challenge=CHALLENGE, allowed=[], alone=True))


def judged(credential, key, **changes):
    given = {"challenge": CHALLENGE, "rp_id": RP, "origins": [ORIGIN], "public_key": key} | changes
    return passkeys.verify_assertion(credential, **given)


def test_what_a_passkey_signs_is_verified() -> None:
    device = Authenticator(ORIGIN, counts=True)
    known = registered(device)
    assert known.credential_id == coded(device.credential_id)
    credential = signed(device)
    assert passkeys.answered_challenge(credential) == CHALLENGE
    assert passkeys.named(credential) == (known.credential_id, "a1")
    found = judged(credential, known.public_key)
    assert (found.sign_count, found.verified) == (1, True)
    device.verifies = False
    assert not judged(signed(device), known.public_key).verified


@pytest.mark.parametrize(
    "changes", [{"challenge": b"other"}, {"rp_id": "example"}, {"origins": ["https://evil.example"]}, {"origins": []}]
)
def test_what_was_signed_for_something_else_is_refused(changes) -> None:
    device = Authenticator(ORIGIN)
    known = registered(device)
    with pytest.raises(NotVerified):
        judged(signed(device), known.public_key, **changes)
    with pytest.raises(NotVerified):
        registered(Authenticator(ORIGIN), **changes)


def test_another_key_is_refused() -> None:
    device, other = Authenticator(ORIGIN), Authenticator(ORIGIN)
    registered(device)
    with pytest.raises(NotVerified):
        judged(signed(device), registered(other).public_key)


BAD = (
    None,
    7,
    "",
    "AAAA",
    [],
    {},
    True,
    "é",
    "=" * 9,
    coded(b"\xff" * 40),
    coded(b"{}"),
    coded(b"[]"),
)


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_no_input_is_a_fault_of_ours(bad) -> None:
    device = Authenticator(ORIGIN)
    new = made(device)
    known = registered(device)
    whole = signed(device)
    for credential, judge in (
        (new, lambda each: passkeys.verify_registration(each, challenge=CHALLENGE, rp_id=RP, origins=[ORIGIN])),
        (whole, lambda each: judged(each, known.public_key)),
    ):
        for path in (
            ("id",),
            ("rawId",),
            ("type",),
            ("response",),
            *(("response", name) for name in credential["response"]),
        ):
            if path[-1] == "userHandle":
                continue
            broken = copy.deepcopy(credential)
            (broken if len(path) == 1 else broken["response"])[path[-1]] = bad
            with pytest.raises(NotVerified):
                judge(broken)
        with pytest.raises(NotVerified):
            judge(bad)
    for read in (passkeys.answered_challenge, passkeys.named):
        with pytest.raises(NotVerified):
            read({"id": bad, "response": {"clientDataJSON": bad, "userHandle": "é"}})


@pytest.mark.parametrize(
    ("configured", "host", "scheme", "found"),
    [
        ("", "login.example", "https", "login.example"),
        ("example", "login.example", "https", "example"),
        ("", "localhost", "http", "localhost"),
        ("", "login.example", "http", None),
        ("", "127.0.0.1", "http", None),
        ("", "192.0.2.7", "https", None),
        ("", "::1", "https", None),
    ],
)
def test_there_is_no_relying_party_on_an_ip_address(configured, host, scheme, found) -> None:
    assert passkeys.relying_party(configured, host, scheme) == found
    assert passkeys.covers("example", "login.example")
    assert not passkeys.covers("example", "badexample")
