"""`python -m verifier …`, which is what `grantlog-verify.pyz` runs."""

import sys

try:
    from verifier.command_line import main
except ModuleNotFoundError as missing:  # pragma: no cover - not where tests run
    print(f"Error: this needs the package {missing.name}: python -m pip install {missing.name}", file=sys.stderr)
    sys.exit(2)

sys.exit(main())
