"""`python -m cli`: the same where the entry point is not installed."""

from cli import main

main(prog_name="grantlog")
