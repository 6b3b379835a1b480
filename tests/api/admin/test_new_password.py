"""Words for every weakness of a password, and passwords that we make ourselves."""

import pytest

from api.config import demonstration
from commands.people import PLATFORM, password_problem, strength_problem
from security.passwords import Weakness, weakness


@pytest.mark.parametrize("why", Weakness)
def test_every_weakness_has_its_words(why: Weakness) -> None:
    assert strength_problem(why).startswith("is too easy to guess: ")
    assert len({strength_problem(each) for each in Weakness}) == len(Weakness)


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("x" * 11, "must have at least 12 characters"),
        ("x" * 12, None),
        ("🔑" * 128, None),
        ("x" * 129, "must have at most 128 characters"),
        ("a lone surrogate \ud800", "must be text"),
    ],
)
def test_lengths_are_counted_in_characters(password: str, problem: str | None) -> None:
    assert password_problem(password, 12) == problem


def test_the_demos_passwords_could_be_set_by_anybody() -> None:
    known = ("ada", "ada@example.test", "Ada Byron", "paul", "paul@example.test", "Paul Baker", *PLATFORM)
    made = [demonstration._password() for _ in range(100)]
    assert [password_problem(each, 12) or weakness(each, known) for each in made] == [None] * 100
