"""`python -m bench`: measures, prints the table, and writes it into the documentation."""

import argparse
import sys
import tempfile
from pathlib import Path

from bench.load import wrk
from bench.reports import machine, pages, report
from bench.runs import measuring


def main() -> int:
    """0 when everything was answered well; 1 when not, or when something is missing."""
    options = _options()
    plan = measuring.Plan(options.rounds, options.seconds, options.collecting, options.codes, options.connections)
    try:
        version = wrk.check()
    except wrk.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="grantlog-bench-") as name:
        directory = Path(name)
        # PostgreSQL runs as a user of its own, who has to get in.
        directory.chmod(0o755)
        facts = machine.facts(directory) | {"load": version}
        result = measuring.measure(plan, directory, lambda text: print(text, file=sys.stderr, flush=True))
    facts |= {name: version for name, version in result.versions.items() if version}
    print(report.table(result))
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    if result.failed:
        print(f"{result.failed} answers were no success: nothing was written", file=sys.stderr)
        return 1
    if options.write:
        report.write(pages.PAGE, report.page(result, facts, plan.rounds))
    return 0


def _options() -> argparse.Namespace:
    usual = measuring.Plan()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--seconds", type=int, default=usual.seconds, help="of each run")
    parser.add_argument("--collecting", type=int, default=usual.collecting, help="seconds of making access tokens")
    parser.add_argument("--codes", type=int, default=usual.codes, help="authorization codes exchanged in each run")
    parser.add_argument("--connections", type=int, default=usual.connections)
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave the documentation alone")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
