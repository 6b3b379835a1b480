"""`grantlog audit key` and `rotate-key`: the key that auditors pin, and its successors."""

from hashlib import sha256
from typing import Literal

import rich_click as click

from api.cli.failures import Failure, refused
from api.cli.opening import Here, run
from api.cli.showing import as_json, print_one
from domain import log_key


@click.command()
@as_json
def key(as_json: bool) -> None:
    """Show the log's verifier key and its fingerprint, for you to give to auditors on a way of your own.

    `/log/vkey` shows the key too, but whoever replaces the log can replace that answer with it.
    """
    print_one(run(shown), as_json)


@click.command(name="rotate-key")
@click.option("--finish", "step", flag_value="finish", help="End a rotation: the former key signs no longer.")
@click.option("--compromised", "step", flag_value="compromised", help="Somebody else has the key: end it at once.")
@as_json
def rotate_key(step: Literal["finish", "compromised"] | None, as_json: bool) -> None:
    """Make a new key, by which the log is known from now on.

    The former key signs beside it until `--finish`, so that auditors have time to pin the new one. Each step is an
    event of the log. Old checkpoints stay verifiable by the key that signed them.
    """
    print_one(run(lambda here: _rotate(here, step)), as_json)


async def _keys(here: Here) -> log_key.State:
    from api.transparency.keeping import ensure_key

    return await ensure_key(here.ledger, here.settings, here.origin)


async def shown(here: Here) -> dict[str, str | list[str] | None]:
    """The keys as `grantlog audit key` prints them."""
    return _members(await _keys(here))


async def _rotate(here: Here, step: Literal["finish", "compromised"] | None) -> dict[str, str | list[str] | None]:
    from commands import log_keys

    origin = str((await _keys(here)).origin)
    if step == "finish":
        refusal = await log_keys.retire(here.ledger, origin, here.origin)
    elif step == "compromised":
        refusal = await log_keys.revoke(here.ledger, origin, "compromised", here.origin)
    else:
        refusal = await log_keys.rotate(here.ledger, origin, here.origin)
    if refusal is not None:
        raise refused(refusal)
    return await shown(here)


def _members(state: log_key.State) -> dict[str, str | list[str] | None]:
    if state.verifier_key is None:
        raise Failure("the log has no key yet")
    fingerprint = sha256(state.verifier_key.encode()).hexdigest()
    return {
        "verifier_key": state.verifier_key,
        "fingerprint": " ".join(fingerprint[at : at + 8] for at in range(0, 64, 8)),
        "origin": state.origin,
        "also_signing": [state.keys[key_id].verifier_key for key_id in state.in_standing("beside")],
        "retired": [state.keys[key_id].verifier_key for key_id in state.in_standing("retired")],
        "revoked": [state.keys[key_id].verifier_key for key_id in state.in_standing("revoked")],
    }
