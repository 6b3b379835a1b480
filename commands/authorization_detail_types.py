"""Types of authorization details (RFC 9396): what clients may ask for beyond scopes, and in which words."""

from domain.requests import authorization_detail_type
from eventstore.command import Command


def put(name: str, description: str, schema: object) -> Command[authorization_detail_type.State]:
    """Defines a type, or changes what it says."""
    return Command(
        authorization_detail_type.STREAM,
        lambda state, view: authorization_detail_type.put(
            state, now=view.now, name=name, description=description, schema=schema
        ),
    )


def remove(name: str) -> Command[authorization_detail_type.State]:
    """Removes a type."""
    return Command(
        authorization_detail_type.STREAM,
        lambda state, view: authorization_detail_type.remove(state, now=view.now, name=name),
    )
