"""`grantlog log succeed`: how a log goes on after its database was put back to an older copy."""

from pathlib import Path

import rich_click as click

from api.cli.failures import USAGE, Failure, refused
from api.cli.log_moving import log as log
from api.cli.opening import Here, run
from api.cli.showing import as_json, print_one


@log.command()
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The newest checkpoint known from before the restore.  [the one that this node kept]",
)
@click.option("--origin", required=True, metavar="NAME", help="The log's new name, which it never had before.")
@as_json
def succeed(checkpoint: Path | None, origin: str, as_json: bool) -> None:
    """Go on under a new name and key after a restore, naming the head that the log had.

    What the log held beyond this copy is lost, and auditors and witnesses rightly refuse it under its former name. The
    new log begins with the old one's events and tells in an event which checkpoint it cannot fulfil. The former key
    signs nothing more; give the new one to auditors and witnesses.
    """
    print_one(run(lambda here: _succeed(here, checkpoint, origin)), as_json)


async def _succeed(here: Here, checkpoint: Path | None, origin: str) -> dict[str, str | list[str] | None]:
    from api.cli.audit_key import shown
    from api.transparency.continuing import kept_of
    from commands import log_keys

    kept = kept_of(here.settings)
    note = kept.read() if checkpoint is None else checkpoint.read_text(encoding="utf-8")
    if note is None:
        raise Failure(f"--checkpoint: this node has kept none in {kept.path}", USAGE)
    try:
        refusal = await log_keys.succeed(here.ledger, note, origin, here.origin)
    except ValueError as error:
        raise Failure(f"the log cannot go on so: {error}") from None
    if refusal is not None:
        raise refused(refusal)
    return await shown(here)
