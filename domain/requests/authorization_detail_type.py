"""Types of authorization details (RFC 9396 §2.1): all of them in one stream, `authorization_detail_type:all`.

Each says in a sentence what a person is asked for, and by a JSON Schema what a client may ask.
"""

import json
import re

import msgspec
from msgspec.structs import replace

from domain.decision import NotFound, Outcome, accept, malformed, refuse
from domain.event import Event, Moment, Recorded
from domain.rules import json_schema, people

STREAM = "authorization_detail_type:all"

TYPES_MAXIMUM = 50
TYPE_MAXIMUM = 64
SENTENCE_MAXIMUM = 300
SCHEMA_MAXIMUM = 8_192
"""Characters of a schema, as JSON without blanks."""

TYPE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:-]{{0,{TYPE_MAXIMUM - 1}}}")


class DetailType(msgspec.Struct, frozen=True, kw_only=True):
    """What the consent page says of it, and the schema that its objects have to fit, as JSON."""

    description: str
    schema: str


class DetailTypeDefined(Event, frozen=True, kw_only=True):
    """Clients may be registered for this type and ask for it, or it says something else from now on."""

    type = "authorization_detail_type.defined"

    name: str
    terms: DetailType


class DetailTypeRemoved(Event, frozen=True, kw_only=True):
    """Nobody can ask for this type any more."""

    type = "authorization_detail_type.removed"

    name: str


EVENTS: tuple[type[Event], ...] = (DetailTypeDefined, DetailTypeRemoved)


class State(msgspec.Struct, frozen=True):
    """The types that there are, by name."""

    types: dict[str, DetailType] = {}

    def schema_of(self, name: str) -> str | None:
        """The schema of a type; None where there is no such type."""
        found = self.types.get(name)
        return None if found is None else found.schema

    def sentence(self, name: str) -> str:
        """What people are told that it is."""
        found = self.types.get(name)
        return name if found is None else found.description


INITIAL = State()


def put(state: State, *, now: Moment, name: str, description: str, schema: object) -> Outcome:
    """Defines a type, or changes what it says. Requests and grants from before keep what was approved."""
    if not TYPE.fullmatch(name):
        return malformed("type", f"must have 1 to {TYPE_MAXIMUM} letters, digits and inner . _ : -")
    if problem := people.text_problem(description, SENTENCE_MAXIMUM):
        return malformed("description", problem)
    if problem := json_schema.problem(schema):
        return malformed("schema", problem)
    text = json.dumps(schema, separators=(",", ":"), ensure_ascii=False)
    if len(text) > SCHEMA_MAXIMUM:
        return malformed("schema", f"must have at most {SCHEMA_MAXIMUM} characters")
    if name not in state.types and len(state.types) >= TYPES_MAXIMUM:
        return malformed("type", f"at most {TYPES_MAXIMUM} types are defined")
    terms = DetailType(description=description, schema=text)
    return accept() if state.types.get(name) == terms else accept(DetailTypeDefined(name=name, terms=terms))


def remove(state: State, *, now: Moment, name: str) -> Outcome:
    """Removes a type."""
    return accept(DetailTypeRemoved(name=name)) if name in state.types else refuse(NotFound.UNKNOWN)


def evolve(state: State, recorded: Recorded) -> State:
    """The types after one more event."""
    match recorded.event:
        case DetailTypeDefined(name=name, terms=terms):
            return replace(state, types=state.types | {name: terms})
        case DetailTypeRemoved(name=name):
            return replace(state, types={other: each for other, each in state.types.items() if other != name})
        case _:
            raise AssertionError(f"{recorded.type} is no event of the types of authorization details")
