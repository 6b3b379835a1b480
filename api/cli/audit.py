"""`grantlog audit …`: proof that the log is whole, what it says, and what of it is kept."""

import rich_click as click

from api.cli.audit_hold import hold
from api.cli.audit_key import key, rotate_key
from api.cli.audit_receipt import check_receipt, receipt
from api.cli.audit_verify import verify
from api.cli.reading.commands import events, export, history, state


@click.group()
def audit() -> None:
    """Verify the log, hand out and check receipts, and read what happened.

    What verifies needs none of this server's settings or keys: take it elsewhere, with the log's key and a checkpoint
    that you kept.
    """


for command in (verify, receipt, check_receipt, history, state, events, export, key, rotate_key, hold):
    audit.add_command(command)
