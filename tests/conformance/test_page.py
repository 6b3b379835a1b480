"""The page tells what was run, and why whatever did not pass did not."""

from typing import Any

from tests.conformance.page import page
from tests.conformance.plans import PLANS

MET, SEEN, MISSED = (
    {"module": "server", "result": "PASSED", "findings": []},
    {"module": "prompt-login", "result": "REVIEW", "findings": ["REVIEW ExpectSecondLoginPage: Show a second login."]},
    {
        "module": "claims-essential",
        "result": "WARNING",
        "findings": [
            "SKIPPED  one step",
            'WARNING  EnsureName: name claim not returned [OIDCC-5.5.1] {"userinfo": {}}',
        ],
    },
)
HUNG: dict[str, Any] = {"module": "max-age-1", "result": "TIMEOUT", "findings": []}


def outcome(*modules: Any) -> Any:
    return {"when": "2026-11-29", "suite": "5.2.4", "minutes": 1.0, "modules": modules}


def test_every_plan_has_a_name_of_its_own() -> None:
    assert len({plan.name for plan in PLANS}) == len({plan.suite for plan in PLANS}) == len(PLANS)


def test_it_counts_what_came_of_each_database() -> None:
    written = page({"sqlite": {"basic": outcome(MET, SEEN, MISSED)}, "postgresql": {"basic": outcome(MET, MET, HUNG)}})
    assert "| Basic, static client | sqlite | 3 | 1 | 1 |  | 1 |  | 2026-11-29 | 5.2.4 |" in written
    assert "| Basic, static client | postgresql | 3 | 2 |  |  |  | 1 | 2026-11-29 | 5.2.4 |" in written


def test_it_says_why_in_the_words_of_the_suite() -> None:
    both = {"basic": outcome(SEEN, MISSED)}
    reasons = page({"sqlite": both, "postgresql": both}).partition("\n### Basic, static client\n\n")[2]
    assert reasons.splitlines() == [
        "- `prompt-login`: review. Show a second login.",
        "- `claims-essential`: warning. Name claim not returned.",
    ]


def test_it_says_where_only_one_database_gave_it() -> None:
    written = page({"sqlite": {"basic": outcome(MET)}, "postgresql": {"basic": outcome(HUNG)}})
    assert "- `max-age-1`: failed. It gave no answer in time. (postgresql only)\n" in written
