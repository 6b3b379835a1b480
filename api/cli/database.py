"""`grantlog database …`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import rich_click as click

from api.cli.failures import UNAVAILABLE, unavailable
from api.cli.opening import UPGRADE, connected, load_settings, schema_is_current
from api.cli.showing import as_json, moment, print_one

if TYPE_CHECKING:
    from api.settings import Settings


@click.group()
def database() -> None:
    """Bring the database to what this version needs."""


@database.command()
def upgrade() -> None:
    """Run the migrations that are missing, as the role of GRANTLOG_MIGRATION_DATABASE_URL."""
    settings = load_settings()
    if schema_is_current(settings):
        click.echo("Nothing to do: the database is at the newest revision.")
        return
    upgrade_to_newest(settings)
    click.echo("The database is at the newest revision.")


def upgrade_to_newest(settings: "Settings") -> None:
    """Runs the migrations; raises Failure when the database does not let it."""
    from eventstore import schema
    from eventstore.asking import DBAPIError
    from eventstore.engines import in_words
    from security.private_files import make_private

    make_private(settings.data_dir)
    try:
        schema.upgrade(settings.database_url, settings.migration_database_url)
    except DBAPIError as error:
        said = in_words(error, settings.database_url, settings.migration_database_url)
        raise unavailable(f"the migrations failed, and nothing was changed: {said}") from None


@database.command()
@as_json
def status(as_json: bool) -> None:
    """Show which database it is, its revision, and where its log stands. Exit code 3 when migrations are missing."""
    from api.settings_page import masked
    from eventstore.schema import newest

    settings = load_settings()
    current = schema_is_current(settings)
    shown: dict[str, Any] = {
        "database_url": masked(settings, "database_url"),
        "current": current,
        "needed_revision": newest(),
        **_log(settings, current),
    }
    print_one(shown, as_json)
    if not current:
        click.echo(f"Migrations are missing: {UPGRADE}.", err=True)
        raise SystemExit(UNAVAILABLE)


def _log(settings: "Settings", current: bool) -> Mapping[str, Any]:
    if not current:
        return {"position": None, "time": None}
    from eventstore.changes import newest

    with connected(settings) as connection:
        position, time = newest(connection)
    return {"position": position, "time": moment(time) if position else None}
