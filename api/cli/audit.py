"""`grantlog audit …`: proof that the log is whole, for people who do not trust the server, and what of it is kept."""

import rich_click as click

from api.cli.audit_hold import hold
from api.cli.audit_key import key, rotate_key
from api.cli.audit_receipt import check_receipt, receipt
from api.cli.audit_verify import verify


@click.group()
def audit() -> None:
    """Verify the log, and hand out and check receipts.

    What verifies needs none of this server's settings or keys: take it elsewhere, with the log's key and a checkpoint
    that you kept.
    """


for command in (verify, receipt, check_receipt, key, rotate_key, hold):
    audit.add_command(command)
