"""`grantlog projections`: what is computed from the log, computed again, and proved equal."""

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import rich_click as click

from cli.failures import REFUSED, Failure, unavailable
from cli.output import Bar, as_json, print_json, print_list
from cli.services import load_settings, open_keys, prove_key, require_schema

if TYPE_CHECKING:
    from eventstore.database import Engine
    from eventstore.personal_data import PersonalData
    from security.clock import Moment

TOGETHER = ("tokens", "digests")
"""A digest moves from the one to the other, so neither is rebuilt or compared without the other."""


@click.group()
def projections() -> None:
    """The read models: list them, compute them again from the log, prove that they are what the log says."""


@projections.command(name="list")
@as_json
def list_(as_json: bool) -> None:
    """Every projection, its rows, and whether its rows were made by its present definition."""
    from eventstore.projecting.rebuild import count, differing, outdated

    engine, _, _, _ = _opened()
    with engine.connect() as connection:
        old = {*outdated(connection, _all()), *differing(connection)}
        rows = [
            {
                "name": name,
                "version": module.VERSION,
                "rows": count(connection, module),
                "rebuild_needed": name in old,
            }
            for name, module in _named().items()
        ]
    print_list(rows, ("name", "version", "rows", "rebuild_needed"), as_json)


@projections.command()
@click.argument("names", nargs=-1)
def rebuild(names: tuple[str, ...]) -> None:
    """Compute the named projections again, or all of them.

    The whole log is replayed into fresh tables beside the live ones, which take their place in one short transaction;
    the server goes on answering. A rebuild that was broken off goes on where it had come to.
    """
    from eventstore.projecting.rebuild import Rebuild
    from eventstore.projecting.refollow import Incomplete, Refollowing

    engine, privacy, now, role = _opened()
    written, following = _chosen(names)
    if written:
        with Bar("rebuild") as progress:
            done = Rebuild(engine, written, privacy, now, server_role=role).run(progress)
        resumed = f", from position {done.resumed_from:,} where an earlier run had ended" if done.resumed_from else ""
        click.echo(f"rebuilt up to position {done.position:,}{resumed}")
    for name in following:
        try:
            with Bar(name) as progress:
                done = Refollowing(engine, name, privacy, server_role=role).rebuild(progress)
        except Incomplete as error:
            raise Failure(f"{name}: {error}", REFUSED) from None
        click.echo(f"{name}: rebuilt up to position {done.position:,}")


@projections.command()
@click.argument("names", nargs=-1)
@as_json
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Prove that the live rows are what the log says; exit code 1 and the first row that differs if they are not."""
    from eventstore.projecting.rebuild import Comparison
    from eventstore.projecting.refollow import Refollowing

    engine, privacy, now, _ = _opened()
    written, following = _chosen(names)
    compared = []
    if written:
        with Bar("verify") as progress:
            compared += Comparison(engine, written, privacy, now).run(progress)
    for name in following:
        with Bar(name) as progress:
            compared += Refollowing(engine, name, privacy).compare(progress)
    if as_json:
        print_json([each._asdict() for each in compared])
    else:
        for each in compared:
            verdict = "equal" if each.differs_at is None else f"DIFFERS, first at {each.differs_at}"
            click.echo(f"{each.table:<20} {each.rows:>10,} rows  sha256 {each.live[:16]}  {verdict}")
    if any(each.differs_at is not None for each in compared):
        raise Failure("live rows are not what the log says; `grantlog projections rebuild` makes them so", REFUSED)


def _all() -> tuple[ModuleType, ...]:
    from projections import FOLLOWING, PROJECTIONS

    return (*PROJECTIONS, *FOLLOWING)


def _named() -> dict[str, ModuleType]:
    from eventstore.projecting.replay import names

    return dict(zip(names(_all()), _all(), strict=True))


def _chosen(given: Sequence[str]) -> tuple[tuple[ModuleType, ...], tuple[str, ...]]:
    """Of the named projections those that are written with the log, and the followers that move the others on."""
    from projections import FOLLOWING

    known = _named()
    for name in given:
        if name not in known:
            raise click.UsageError(f"there is no projection {name}; there are {', '.join(known)}")
    wanted = set(given or known)
    if wanted & set(TOGETHER):
        wanted |= set(TOGETHER)
    chosen = {name: module for name, module in known.items() if name in wanted}
    followers = dict.fromkeys(module.NAME for module in chosen.values() if module in FOLLOWING)
    return tuple(module for module in chosen.values() if module not in FOLLOWING), tuple(followers)


def _opened() -> "tuple[Engine, PersonalData, Moment, str | None]":
    """An engine as the role that owns the tables, and what replaying needs; raises Failure."""
    from eventstore.database import DBAPIError
    from eventstore.database.engines import in_words, migrating
    from eventstore.database.schema import server_role
    from eventstore.personal_data import PersonalData
    from security.clock import SystemClock
    from security.mac import BlindIndex
    from security.sealing import Sealer
    from security.vault import Vault

    settings = load_settings()
    require_schema(settings)
    keyring = open_keys(settings)
    owner = settings.migration_database_url or settings.database_url
    engine, vault = migrating(owner), Vault(keyring)
    try:
        with engine.connect() as connection:
            prove_key(connection, vault, keyring)
    except DBAPIError as error:
        raise unavailable(f"the database does not answer: {in_words(error, owner)}") from None
    privacy = PersonalData(Sealer(vault), BlindIndex(keyring))
    return engine, privacy, SystemClock().now(), server_role(settings.database_url, owner)
