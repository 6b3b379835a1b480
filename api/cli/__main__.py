"""`python -m api.cli`: the same where the entry point is not installed."""

from api.cli import main

main(prog_name="grantlog")
