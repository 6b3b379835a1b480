"""`make explore`: every property test with examples that it never had, round after round.

`make test` is about the change that was made, so there every property test has the same examples in each run: those
that follow from its own source, and those that are written above it. What exploring finds is written above it with
`@example`, and from then on it is in every run. Here each round has a seed of its own, which it prints; the same seed
gives the same examples again, as long as the test is the same.
"""

import argparse
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence

from hypothesis import HealthCheck, settings

FIXED, EXPLORING = "fixed", "exploring"
EXAMPLES, EXPLORED = 40, 100
"""Of each property that says nothing else, in `make test` and in a round of exploring."""

_MACHINE = [HealthCheck.too_slow]
"""How long examples take says how busy the machine is."""

ONE_FIXTURE_FOR_ALL = [*_MACHINE, HealthCheck.function_scoped_fixture]
"""For properties whose examples share what a fixture made, and are no worse for it."""


def register_profiles() -> None:
    """Makes the profiles known to Hypothesis and loads that of `make test`."""
    both = settings(deadline=None, print_blob=True, suppress_health_check=_MACHINE)
    settings.register_profile(FIXED, both, derandomize=True, max_examples=EXAMPLES)
    settings.register_profile(EXPLORING, both, derandomize=False, max_examples=EXPLORED)
    settings.load_profile(FIXED)


def exploring() -> bool:
    """Whether these are examples of `make explore`, which has the time for more of them."""
    return settings.get_current_profile_name() == EXPLORING


def examples(fixed: int, explored: int) -> int:
    """How many examples a property has that takes longer than others: in `make test`, and in a round of exploring."""
    return explored if exploring() else fixed


def explore(rounds: int | None, minutes: float, first: int | None, options: Sequence[str]) -> int:
    """Runs so many rounds, or as many as begin within so many minutes; 1 with the first that finds something.

    `first` is the seed of the first round. `options` are pytest's.
    """
    began, clean = time.monotonic(), 0
    while clean < rounds if rounds is not None else time.monotonic() - began < minutes * 60:
        seed = first if first is not None and clean == 0 else secrets.randbelow(2**32)
        print(f"round {clean + 1}: seed {seed}", flush=True)
        if _round(seed, options) != 0:
            print(f"round {clean + 1} found something. Once more: make explore EXPLORE='--rounds 1 --seed {seed}'")
            print("When it is mended, write the example above the test with @example, so that `make test` has it too.")
            return 1
        clean += 1
    print(f"{clean} rounds found nothing in {time.monotonic() - began:.0f} seconds")
    return 0


def _round(seed: int, options: Sequence[str]) -> int:
    # Hypothesis marks what it runs.
    chosen = ["-m", "hypothesis", f"--hypothesis-profile={EXPLORING}", f"--hypothesis-seed={seed}", "-q"]
    return subprocess.run([sys.executable, "-m", "pytest", *chosen, *options], check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.explore", description="Other arguments are pytest's.")
    parser.add_argument("--rounds", type=int, help="so many rounds, however long they take")
    parser.add_argument("--minutes", type=float, default=10, help="else rounds that begin within so many (10)")
    parser.add_argument("--seed", type=int, help="the first round's seed")
    given, options = parser.parse_known_args(arguments)
    return explore(given.rounds, given.minutes, given.seed, options)


if __name__ == "__main__":
    sys.exit(main())
