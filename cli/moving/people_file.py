"""A list of people, as `grantlog import people` reads it and `grantlog export people` writes it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from argon2.exceptions import InvalidHashError

from cli.command_services import CommandServices
from cli.moving.import_lines import ImportLine, Passed, Unfit
from cli.moving.records import Record, read_records
from cli.person import read_claims
from cli.terminal import USAGE, Failure
from commands import moving, people
from commands.people import PersonRegistration
from commands.permissions import operator
from domain.people.passwords import ForeignHash
from domain.rules.people import canonical
from domain.rules.standard_claims import ADDRESS, FLAGS, TEXTS
from eventstore.execution import Single
from security.fair_queue import Asker
from security.password_hashes import TooDear, from_elsewhere
from security.passwords import Argon2Parameters, Hasher, StrengthMeter
from security.tokens import new_id

OWN = ("username", "email", "name", "password", "password_hash", "roles", "enabled")
"""What a line may have of a person beside the standard claims."""

CLAIMS = (*TEXTS, *FLAGS, *(f"address.{member}" for member in ADDRESS))
COLUMNS = (*OWN, *CLAIMS)

_MEASURED_AT_ONCE = 16
"""Passwords in clear that are measured and hashed together."""


def hashed_elsewhere(encoded: str, field: str = "password_hash") -> ForeignHash:
    """What it takes to look at a password with this hash. Raises Unfit for one that cannot be kept."""
    try:
        kept = from_elsewhere(encoded)
    except (InvalidHashError, TooDear) as problem:
        raise Unfit(f"{field}: {problem}") from None
    return ForeignHash(kept.costs, kept.work)


def named(realm: str, username: str | None, email: str | None) -> frozenset[str]:
    """What tells a person from the others of a file."""
    given = (("username", username), ("email", email))
    return frozenset(f"{realm} {field} {canonical(name)}" for field, name in given if name)


class PeopleFile:
    """The people of a file who go to one realm. It hashes passwords in clear, which takes as long as ever."""

    def __init__(self, services: CommandServices, path: Path, realm: str, ignored: Sequence[str]) -> None:
        self._services = services
        self._path = path
        self._realm = realm
        self._ignored = frozenset(ignored)
        settings = services.settings
        costs = Argon2Parameters(settings.argon2_memory, settings.argon2_time, settings.argon2_parallelism)
        self._hasher = Hasher(costs)
        self._strength = StrengthMeter()
        self._measuring = asyncio.Semaphore(_MEASURED_AT_ONCE)

    def close(self) -> None:
        """Ends its threads."""
        self._strength.close()
        self._hasher.close()

    def import_lines(self) -> Iterator[ImportLine | Passed]:
        """Each line's person. Raises Failure for a column that nobody knows."""
        for record in read_records(self._path):
            yield self._import_line(record)

    def _import_line(self, record: Record) -> ImportLine | Passed:
        if record.problem is not None:
            return Passed(record.line, record.problem)
        members = _flat(record.members, self._ignored)
        if unknown := [name for name in members if name not in COLUMNS]:
            names = ", ".join(sorted(unknown))
            raise Failure(f"line {record.line}: {names}: is none of a person's; --ignore NAME leaves it out", USAGE)
        username, email = (
            text if isinstance(text := members.get(field), str) else None for field in ("username", "email")
        )
        keys = named(self._realm, username, email)

        async def make() -> Single:
            return await self._command(members)

        return ImportLine(record.line, "person", username or email or "?", keys, make)

    async def _command(self, members: Mapping[str, Any]) -> Single:
        texts = {field: _text(field, members.get(field)) for field in ("username", "email", "name", "password_hash")}
        encoded, foreign = texts.pop("password_hash"), None
        if encoded is not None:
            foreign = hashed_elsewhere(encoded)
            if "password" in members:
                raise Unfit("password: stands beside a password_hash")
        try:
            claims = read_claims(tuple(f"{name}={_word(members[name])}" for name in CLAIMS if name in members))
        except Failure as failure:
            raise Unfit(str(failure).removeprefix("--claim ")) from None
        if (password := _text("password", members.get("password"))) is not None:
            encoded = await self._hashed(password, *texts.values())
        person = PersonRegistration(
            realm=self._realm,
            **texts,
            password_hash=encoded,
            foreign_hash=foreign,
            roles=_roles(members.get("roles")),
            claims=claims,
        )
        privacy = self._services.ledger.privacy
        return moving.move_in(new_id(), person, enabled=_flag(members.get("enabled")), privacy=privacy, by=operator)

    async def _hashed(self, password: str, *names: str | None) -> str:
        settings, ledger = self._services.settings, self._services.ledger
        problem = people.password_problem(password, settings.password_minimum)
        async with self._measuring:
            problem = problem or await people.weakness_problem(
                password, names, ledger=ledger, issuer=settings.issuer, strength=self._strength
            )
            if problem is not None:
                raise Unfit(f"password: {problem}")
            # Each is an asker of its own, so that none waits for a share of the threads.
            return await self._hasher.hash(password, Asker(new_id()))


def _flat(members: Mapping[str, Any], ignored: frozenset[str]) -> dict[str, Any]:
    """The members of `address` by names of their own; without those that are to be left out."""
    address = members.get("address")
    flat = {name: value for name, value in members.items() if not (name == "address" and isinstance(address, dict))}
    if isinstance(address, dict):
        flat |= {f"address.{name}": value for name, value in address.items() if value not in (None, "")}
    return {name: value for name, value in flat.items() if name not in ignored}


def _text(field: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Unfit(f"{field}: must be text")
    return value


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flag(value: Any) -> bool:
    word = _word(True if value is None else value)
    if word not in ("true", "false"):
        raise Unfit("enabled: must be true or false")
    return word == "true"


def _roles(value: Any) -> tuple[str, ...] | None:
    """Names separated by blanks, or a list of them; None where nothing is said, and the realm's defaults are given."""
    if value is None:
        return None
    names = value.split() if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Unfit("roles: must be names, separated by blanks")
    return tuple(dict.fromkeys(names))
