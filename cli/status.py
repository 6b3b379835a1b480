"""`grantlog status`: how an installation does, read past the servers from their database."""

from typing import Any

import msgspec
import rich_click as click

from api.config.settings import masked
from api.server.log_standing import standing
from api.services import running_version
from cli.command_services import UPGRADE, connected, load_settings, open_keys, schema_is_current
from cli.terminal import UNAVAILABLE, as_json, moment, print_one
from eventstore.database import Connection
from eventstore.may_write import key_problem
from eventstore.projecting.rebuild import differing, outdated
from eventstore.transparency import published
from projections import FOLLOWING, PROJECTIONS
from security.clock import SystemClock
from security.vault import Vault


@click.command()
@as_json
def status(as_json: bool) -> None:
    """Show where the log stands, what follows it, what waits for people and what is wrong. Exit code 3 if anything is.

    It reads the database alone. Of the servers themselves `/health/ready` of their listener for operators tells."""
    settings = load_settings()
    shown: dict[str, Any] = {"version": running_version(), "database_url": masked(settings, "database_url")}
    if schema_is_current(settings):
        keyring = open_keys(settings)
        vault = Vault(keyring)
        with connected(settings, vault) as connection:
            problem = key_problem(connection, vault, keyring)
            shown |= _standing(connection) | {"wrong": [*([problem] if problem else []), *_projections(connection)]}
    else:
        shown["wrong"] = [f"migrations are missing: {UPGRADE}"]
    print_one(shown, as_json)
    if shown["wrong"]:
        raise SystemExit(UNAVAILABLE)


def _standing(connection: Connection) -> dict[str, Any]:
    found = standing(connection, SystemClock().now())
    checkpoint = published.newest(connection)
    return msgspec.structs.asdict(found) | {
        "time": moment(found.time) if found.position else None,
        "checkpoint": None if checkpoint is None else {"size": checkpoint.size, "signed_at": moment(checkpoint.time)},
    }


def _projections(connection: Connection) -> list[str]:
    wrong = sorted({*differing(connection), *outdated(connection, (*PROJECTIONS, *FOLLOWING))})
    return [f"not what the log says: {' '.join(wrong)}; run grantlog projections rebuild"] if wrong else []
