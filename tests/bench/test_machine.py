"""What is told of the interpreter that something was measured on."""

import pytest

from bench.reports import machine

USED = "-fprofile-use -fprofile-correction"


@pytest.mark.parametrize(
    ("options", "profile", "said"),
    [
        ("'--enable-optimizations' '--with-lto'", USED, "built with PGO and LTO"),
        ("'--enable-optimizations'", USED, "built with PGO"),
        ("'--enable-shared'", USED, "built without PGO and LTO"),
        # As Debian has it: the options and the compiler's were taken out after it was built.
        ("'--enable-shared' '--prefix=/usr'", "", "which does not tell whether it was built with PGO and LTO"),
        (None, None, "which does not tell whether it was built with PGO and LTO"),
    ],
)
def test_only_what_an_interpreter_tells_is_said(options: str | None, profile: str | None, said: str) -> None:
    told = {"CONFIG_ARGS": options, "PGO_PROF_USE_FLAG": profile}
    assert machine.build(told.get) == said
