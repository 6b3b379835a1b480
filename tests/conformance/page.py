"""`docs/conformance.md`: what the plans gave when they were run last, and why each module that did not pass did not."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.conformance.plans import PLANS

Outcome = Mapping[str, Any]
"""What came of one plan: `when` as a date, `suite`, `minutes`, and `modules`, each with what the kit says of it."""

NOTES = {
    "fapi2-security-profile-final-test-claims-parameter-identity-claims": "It is `sid`, by which back-channel logout "
    "names a session; in other plans the suite knows it",
}
"""What we have to say of a module that will not pass."""

RESULTS = ("PASSED", "REVIEW", "SKIPPED", "WARNING", "FAILED")

HEAD = """# Conformance

What the [OpenID Foundation's conformance suite](https://gitlab.com/openid/conformance-suite) says of this server,
written by `make conformance`. It needs the suite's jar, built from its public sources as they say themselves, and the
kit that runs it and visits the pages; neither is in this repository:

```
OIDF_SUITE_JAR=… CONFORMANCE_KIT=… make conformance
```

| result | means |
|---|---|
| passed | nothing to complain of |
| review | a page has to be looked at by a person. The kit looked for the words that must stand on it, and found them |
| skipped | the server says in its metadata that it does without the feature; certification allows it |
| warning | something recommended was not met; certification allows it |
| failed | a requirement was not met |

*Dynamic OP*, implicit and hybrid flows are refused by design
([0021](decisions/protocol/0021-openid-connect-by-the-code-flow-alone.md)).
"""


def page(outcomes: Mapping[str, Mapping[str, Outcome]]) -> str:
    """The page of these outcomes, by database and by plan."""
    return "".join((HEAD, *_counts(outcomes), *_reasons(outcomes)))


def _counts(outcomes: Mapping[str, Mapping[str, Outcome]]) -> Iterator[str]:
    yield "\n## What was run last\n\n"
    yield "| plan | database | modules | " + " | ".join(each.lower() for each in RESULTS) + " | on | suite |\n"
    yield "|---|---|--:|" + "--:|" * len(RESULTS) + "---|---|\n"
    for plan in PLANS:
        for database, found in outcomes.items():
            if plan.name not in found:
                continue
            outcome = found[plan.name]
            results = Counter(_result(module) for module in outcome["modules"])
            cells = [plan.title, database, str(results.total()), *(str(results[each] or "") for each in RESULTS)]
            yield f"| {' | '.join((*cells, outcome['when'], outcome['suite']))} |\n"


def _reasons(outcomes: Mapping[str, Mapping[str, Outcome]]) -> Iterator[str]:
    yield "\n## What is not *passed*, and why\n"
    for plan in PLANS:
        ran = [database for database, found in outcomes.items() if plan.name in found]
        told: dict[str, list[str]] = {}
        for database in ran:
            for module in outcomes[database][plan.name]["modules"]:
                if _result(module) != "PASSED":
                    told.setdefault(_line(module), []).append(database)
        if told:
            yield f"\n### {plan.title}\n\n"
        for line, databases in told.items():
            yield line + ("\n" if databases == ran else f" ({' and '.join(databases)} only)\n")


def _result(module: Mapping[str, Any]) -> str:
    found = str(module["result"])
    return found if found in RESULTS else "FAILED"


def _line(module: Mapping[str, Any]) -> str:
    reason = next(filter(None, map(_reason, _telling(module))), "it gave no answer in time")
    words = [reason, *(text for name, text in NOTES.items() if name == module["module"])]
    told = "".join(f" {text[:1].upper()}{text[1:].rstrip('.')}." for text in words)
    return f"- `{module['module']}`: {_result(module).lower()}.{told}"


def _telling(module: Mapping[str, Any]) -> Sequence[str]:
    """The findings that are the reason, before those that are not."""
    mark = {"FAILED": "FAILURE"}.get(_result(module), _result(module))
    return sorted(module["findings"], key=lambda each: not each.startswith(mark))


def _reason(finding: str) -> str:
    """The suite's words alone, without its class names, references and what it adds."""
    words = re.sub(r"^[A-Z]+\s+", "", finding)
    words = re.sub(r"^[\w-]+: ", "", words)
    return re.split(r" [\[{]", words, maxsplit=1)[0].strip()
