"""The log's keys: one active at any time, a former one beside it for a while, one name for ever."""

from typing import Any

import pytest

from domain.decision import Conflict, InvalidRequest, NotFound
from domain.keys import log_key as log_key_page
from domain.keys.log_key import LogKeyActivated, LogKeyIntroduced, LogKeyRetired, LogKeyRevoked, LogKeySucceeded
from tests.domain.history import NOW, given, loosely

log_key = loosely(log_key_page)


def key(number: int, name: str = "log.example/grantlog") -> dict[str, str]:
    key_id = f"{number:08x}"
    return {"key_id": key_id, "verifier_key": f"{name}+{key_id}+AQID"}


def made(number: int) -> tuple[LogKeyIntroduced, LogKeyActivated]:
    return LogKeyIntroduced(**key(number)), LogKeyActivated(key_id=f"{number:08x}")


def after(*events):
    return given(log_key, "log_key", *events)


def test_the_first_key_is_active_at_once_and_names_the_log() -> None:
    outcome = log_key.begin(log_key.INITIAL, now=NOW, **key(1))
    assert outcome.events == made(1)
    state = after(*outcome.events)
    assert (state.active, state.origin, state.verifier_key) == (
        "00000001",
        "log.example/grantlog",
        key(1)["verifier_key"],
    )
    assert log_key.begin(state, now=NOW, **key(2)).refusal.reason == Conflict.EXISTS


def test_rotation_lets_the_former_key_cosign_until_retired() -> None:
    rotated = log_key.rotate(after(*made(1)), now=NOW, **key(2))
    assert rotated.events == made(2)
    state = after(*made(1), *rotated.events)
    assert (state.active, list(state.in_standing("beside"))) == ("00000002", ["00000001"])
    assert log_key.rotate(state, now=NOW, **key(3)).refusal.reason == Conflict.IN_USE
    retired = log_key.retire(state, now=NOW)
    assert retired.events == (LogKeyRetired(key_id="00000001"),)
    state = after(*made(1), *made(2), *retired.events)
    assert [key.standing for key in state.keys.values()] == ["retired", "active"]
    assert log_key.rotate(state, now=NOW, **key(3)).events == made(3)


def test_compromised_key_ends_at_once_with_its_cosigners() -> None:
    outcome = log_key.revoke(after(*made(1), *made(2)), now=NOW, **key(3), reason="compromised")
    assert outcome.events == (
        *made(3),
        LogKeyRevoked(key_id="00000001", reason="compromised"),
        LogKeyRevoked(key_id="00000002", reason="compromised"),
    )
    state = after(*made(1), *made(2), *outcome.events)
    assert (state.active, list(state.in_standing("beside"))) == ("00000003", [])


@pytest.mark.parametrize("verb", [log_key.rotate, log_key.retire, log_key.revoke])
def test_what_needs_a_key_is_refused_before_the_first(verb) -> None:
    facts = {} if verb is log_key.retire else key(1)
    facts |= {"reason": "lost"} if verb is log_key.revoke else {}
    assert verb(log_key.INITIAL, now=NOW, **facts).refusal.reason == NotFound.UNKNOWN


def test_there_is_nothing_to_retire_without_a_rotation() -> None:
    assert log_key.retire(after(*made(1)), now=NOW).refusal.reason == NotFound.UNKNOWN


@pytest.mark.parametrize(
    "facts",
    [
        {"key_id": "00000002", "verifier_key": "log.example/grantlog+00000003+AQID"},
        {"key_id": "00000002", "verifier_key": "+00000002+AQID"},
        key(2, "n" * log_key.LONGEST_KEY),
        key(2, "another.example/log"),
    ],
)
def test_a_key_has_its_own_id_and_the_logs_name(facts) -> None:
    assert log_key.rotate(after(*made(1)), now=NOW, **facts).refusal.reason == InvalidRequest.MALFORMED


def test_no_key_comes_twice() -> None:
    assert log_key.rotate(after(*made(1)), now=NOW, **key(1)).refusal.reason == Conflict.EXISTS


# A log that was put back to an older copy --------------------------------------------------------------------------

LOST: dict[str, Any] = {"predecessor": "log.example/grantlog", "size": 4711, "root": "A" * 43 + "="}


def succeed(state, number: int = 3, name: str = "log.example/second", **changes):
    return log_key.succeed(state, now=NOW, **(key(number, name) | LOST | {"held": False} | changes))


def made_under(number: int, name: str) -> tuple[LogKeyIntroduced, LogKeyActivated]:
    return LogKeyIntroduced(**key(number, name)), LogKeyActivated(key_id=f"{number:08x}")


def test_log_that_lost_its_head_gets_a_new_name_and_says_why() -> None:
    outcome = succeed(after(*made(1)))
    assert outcome.events == (
        LogKeySucceeded(origin="log.example/second", **LOST),
        *made_under(3, "log.example/second"),
        LogKeyRetired(key_id="00000001"),
    )
    state = after(*made(1), *outcome.events)
    assert (state.active, state.origin) == ("00000003", "log.example/second")
    assert not any(state.in_standing("beside"))


def test_no_former_key_signs_beside_the_successor() -> None:
    state = after(*made(1), *made(2))
    outcome = succeed(state)
    assert outcome.events[-2:] == (LogKeyRetired(key_id="00000001"), LogKeyRetired(key_id="00000002"))
    state = after(*made(1), *made(2), *outcome.events)
    assert [each.standing for each in state.keys.values()] == ["retired", "retired", "active"]


def test_the_next_rotation_bears_the_new_name() -> None:
    state = after(*made(1), *succeed(after(*made(1))).events)
    assert log_key.rotate(state, now=NOW, **key(4)).refusal.reason == InvalidRequest.MALFORMED
    assert log_key.rotate(state, now=NOW, **key(4, "log.example/second")).events == made_under(4, "log.example/second")


def test_a_log_succeeds_another_as_often_as_it_is_put_back() -> None:
    state = after(*made(1), *succeed(after(*made(1))).events)
    again = {"predecessor": "log.example/second"}
    assert succeed(state, 5, "log.example/third", **again).events[0].origin == "log.example/third"
    assert succeed(state, 5, "log.example/third").refusal.reason == InvalidRequest.MALFORMED


def test_log_that_has_its_checkpoint_needs_no_new_name() -> None:
    outcome = succeed(after(*made(1)), held=True)
    assert (outcome.refusal.reason, outcome.events) == (Conflict.EXISTS, ())


@pytest.mark.parametrize("name", ["log.example/grantlog", "log.example/second"])
def test_a_name_that_the_log_has_or_had_is_not_given_again(name) -> None:
    state = after(*made(1), *succeed(after(*made(1))).events)
    refused = succeed(state, 5, name, predecessor="log.example/second").refusal
    assert (refused.reason, refused.field) == (Conflict.NAME_TAKEN, "origin")


def test_only_the_logs_own_checkpoint_can_be_what_was_lost() -> None:
    refused = succeed(after(*made(1)), predecessor="another.example/log").refusal
    assert (refused.reason, refused.field) == (InvalidRequest.MALFORMED, "checkpoint")


def test_a_log_without_a_key_has_nothing_to_succeed() -> None:
    assert succeed(log_key.INITIAL).refusal.reason == NotFound.UNKNOWN


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"verifier_key": "log.example/second+00000009+AQID"}, InvalidRequest.MALFORMED),
        (key(1, "log.example/second"), Conflict.EXISTS),
    ],
)
def test_the_successors_key_is_a_new_one_with_its_own_id(facts, reason) -> None:
    assert succeed(after(*made(1)), **facts).refusal.reason == reason
