"""The parts of other read models that decide whether a token or a grant is alive, joined by their keys."""

from typing import Any, Literal

from sqlalchemy import Column, ColumnElement, FromClause, Row, and_

from domain import cut_off, validity
from projections.accounts import TABLE as ACCOUNTS
from projections.clients import TABLE as CLIENTS
from projections.consents import TABLE as CONSENTS
from projections.secrets import TABLE as SECRETS
from projections.tables import parse_windows

DECIDING = (
    CLIENTS.c.state.label("client_state"),
    CLIENTS.c.cutoff.label("client_cutoff"),
    CLIENTS.c.windows.label("client_windows"),
    SECRETS.c.tokens_cutoff.label("secret_cutoff"),
    ACCOUNTS.c.state.label("account_state"),
    ACCOUNTS.c.cutoff.label("account_cutoff"),
    ACCOUNTS.c.password_cutoff,
    ACCOUNTS.c.password_except,
    ACCOUNTS.c.windows.label("account_windows"),
    CONSENTS.c.cutoff.label("consent_cutoff"),
)


def parties(rows: FromClause, *, client_id: Column[Any], account_id: Column[Any], secret_id: Column[Any]) -> FromClause:
    """The rows with their client, secret version, person and consent; what is missing is null."""
    consented: ColumnElement[bool] = and_(CONSENTS.c.account_id == account_id, CONSENTS.c.client_id == client_id)
    return (
        rows.outerjoin(CLIENTS, CLIENTS.c.client_id == client_id)
        .outerjoin(SECRETS, SECRETS.c.secret_id == secret_id)
        .outerjoin(ACCOUNTS, ACCOUNTS.c.account_id == account_id)
        .outerjoin(CONSENTS, consented)
    )


def client(row: Row[Any], secret_id: str | None) -> validity.Client:
    """The client's part of a joined row; a client without a row is gone."""
    state: Literal["enabled", "disabled", "deleted"] = row.client_state or "deleted"
    windows = parse_windows(row.client_windows)
    return validity.Client(
        state,
        row.client_cutoff or 0,
        row.secret_cutoff or 0,
        cut_off.of_all(windows),
        cut_off.of_secret(windows, secret_id),
    )


def person(row: Row[Any], account_id: str | None, grant_type: str) -> validity.Person | None:
    """The person's part of a joined row; a person without a row is erased. Only a code grant rests on a consent."""
    if account_id is None:
        return None
    return validity.Person(
        row.account_state or "erased",
        row.account_cutoff or 0,
        row.password_cutoff or 0,
        row.password_except,
        (row.consent_cutoff or 0) if grant_type == "authorization_code" else 0,
        cut_off.of_all(parse_windows(row.account_windows)),
    )
