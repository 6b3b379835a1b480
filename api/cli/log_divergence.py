"""`grantlog log accept-divergence`: how a server goes on after somebody has understood why its log does not fit."""

from typing import TYPE_CHECKING

import rich_click as click

from api.cli.failures import Failure
from api.cli.log_succession import log as log
from api.cli.opening import Here, run
from api.cli.progress import Bar
from api.cli.showing import as_json, print_one

if TYPE_CHECKING:
    from domain import server


@log.command(name="accept-divergence")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def accept_divergence(yes: bool, as_json: bool) -> None:
    """Accept what does not fit in the log, and have the servers issue and sign again.

    Also after the log went back under a server, as in a fail-over to a standby that lacked the newest events. Compares
    the whole log with its tree, shows every position that does not fit, and records who accepted which. Do so
    when you know what was changed, by whom, and what that may have led to. Auditors go on finding those positions; this
    event tells them the rest. It is an alarm again when anything else is changed, or the same once more.
    """
    print_one(run(lambda here: _accept(here, yes)), as_json)


async def _accept(here: Here, yes: bool) -> dict[str, str | list[str] | None]:
    from api.transparency.continuing import kept_of
    from commands import servers
    from domain import server

    state: server.State = await here.ledger.state(server.STREAM)
    kept = kept_of(here.settings)
    lost = kept.read_lost()
    reason = state.diverged.reason if state.diverged is not None else lost.reason if lost is not None else None
    if reason is None:
        raise Failure("nothing has diverged")
    found = await _misfits(here, state)
    positions = ", ".join(found) or "none any more"
    click.echo(f"{reason}\nPositions that do not fit: {positions}", err=True)
    if not yes:
        click.confirm("Accept this?", abort=True, err=True)
    await here.execute(servers.accept_divergence(reason, found))
    kept.forget_lost()
    return {"reason": reason, "accepted": list(found)}


async def _misfits(here: Here, state: "server.State") -> dict[str, str]:
    from domain.server import MISFITS_MAXIMUM
    from eventstore.transparency.accepting import NotAcceptable, misfits
    from eventstore.transparency.leaves import read_leaves

    with Bar("compare") as bar:
        try:
            return await here.ledger.read(misfits, read_leaves, state.accepted, MISFITS_MAXIMUM, bar)
        except NotAcceptable as error:
            raise Failure(
                f"{error}. That cannot be accepted: put the database back from a backup, and see `grantlog log succeed`"
            ) from None
