"""Writes the generated pages of `docs/`; with `--check` it changes nothing and fails when one is out of date."""

import inspect
import sys
import types
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from api.audit import ocsf
from api.config import settings
from domain.event import Event
from domain.events import EVENTS
from security.scanning import RULES, type_name
from security.tokens import CHECKSUM_LENGTH, DEFAULT, RANDOM_LENGTH, Kind

# The text of `docs/events.md`: every event of the catalogue with what it records, on one page.

EVENTS_HEAD = """# Events

Generated from the catalogue in `domain/events.py` by `make docs`; change it there. A type is stored for ever: it is
never renamed and never used for anything else. Each event also has its position, id, stream, version, time, actor,
request id and the caller's address and user agent, which the ledger adds. *Sealed* members are about a person or a
client and are encrypted under a key of theirs; *of origin* are those that tell where a request came from, as address
and user agent do, and end with their month too; *hidden* ones are shown to nobody, auditors included. A member that has
its default may be missing from the stored event. *In doubt* are the events that are recorded also while the log has
diverged: ends, what replaces a leaked secret, and what was noticed. No others are.
"""


def events() -> str:
    """The page, its events in the order of their types."""
    ordered = sorted(EVENTS, key=lambda event: event.type)
    parts = [EVENTS_HEAD]
    for noun, events in groupby(ordered, key=lambda event: event.type.partition(".")[0]):
        parts.append(f"\n## {noun}\n")
        parts.extend(_section(event) for event in events)
    return "".join(parts)


def _section(event: type[Event]) -> str:
    meaning = " ".join((inspect.getdoc(event) or "").split())
    mark = " *In doubt.*" if event.in_doubt else ""
    lines = [f"\n### `{event.type}`\n", f"\n{meaning}{mark}\n"]
    fields = msgspec.structs.fields(event)
    if fields:
        lines.append("\n| member | type | default | |\n|---|---|---|---|\n")
        # The hints of the class itself, because msgspec resolves names away that read better as they were written.
        hints = get_type_hints(event, include_extras=True)
        lines.extend(_event_row(event, field, hints[field.name]) for field in fields)
    return "".join(lines)


def _event_row(event: type[Event], field: msgspec.structs.FieldInfo, hint: Any) -> str:
    told = (("sealed", event.personal), ("of origin", event.of_origin), ("hidden", event.hidden))
    marks = [name for name, fields in told if field.name in fields]
    return f"| `{field.encode_name}` | {_kind(hint)} | {_default(field)} | {', '.join(marks)} |\n"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    # A structure's default is itself without anything in it.
    return "`{}`" if isinstance(value, msgspec.Struct) else f"`{msgspec.json.encode(value).decode()}`"


def _kind(hint: Any) -> str:
    origin, parameters = get_origin(hint), get_args(hint)
    if hasattr(hint, "__metadata__"):
        return _kind(parameters[0])
    if hint is type(None):
        return "null"
    if origin is Literal:
        return " ".join(f"`{choice}`" for choice in parameters)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in parameters if part is not msgspec.UnsetType)
    if origin in (tuple, list, frozenset):
        return f"list of {_kind(parameters[0])}"
    if origin is dict:
        return f"{_kind(parameters[0])} → {_kind(parameters[1])}"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "{" + ", ".join(f"`{field.encode_name}`" for field in msgspec.structs.fields(hint)) + "}"
    return {str: "text", int: "number", bool: "true or false", float: "number"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )


# The text of `docs/secret-scanning.md`: how scanners recognise our secrets.

SCANNING_HEAD = f"""# Secret scanning

Generated from `security/scanning.py` and the kinds in `security/tokens.py` by `make docs`; change it there.

Every secret that Grantlog hands out is `<prefix>_<kind>_`, {RANDOM_LENGTH} random base62 characters and
{CHECKSUM_LENGTH} more that are the CRC-32 of those {RANDOM_LENGTH}, in base62 with the digits `0-9A-Za-z`, the most
significant first. The prefix is `{DEFAULT.prefix}` unless `GRANTLOG_TOKEN_PREFIX` sets another. So a scanner finds a
secret by its looks, says of what kind it is, and, where it can compute a checksum, passes over what is made up.

`grantlog leaks rules --format FORMAT` prints the rules of an installation, with its own prefix. Below they stand for
`{DEFAULT.prefix}`.

| kind | what it is | type | expression |
|---|---|---|---|
"""

USE = {
    "gitleaks": (
        "gitleaks and betterleaks",
        "Neither computes a checksum. To have their own rules as well, put `[extend]` and `useDefault = true` above.",
        ("grantlog leaks rules --format gitleaks > grantlog.toml", "betterleaks auto . --config grantlog.toml"),
        "toml",
    ),
    "kingfisher": (
        "kingfisher",
        "It computes the checksum: what it reports is a secret, or was one.",
        ("grantlog leaks rules --format kingfisher > grantlog.yml", "kingfisher scan . --rules-path grantlog.yml"),
        "yaml",
    ),
    "detect-secrets": (
        "detect-secrets",
        "The rules are a plugin, which computes the checksum.",
        (
            "grantlog leaks rules --format detect-secrets > grantlog_plugin.py",
            "detect-secrets scan . --plugin grantlog_plugin.py",
        ),
        "python",
    ),
}

GITHUB = """
## GitHub

GitHub takes the expressions by hand. Under *custom patterns*, a repository, an organisation or an enterprise enters the
`pattern` of each kind as its secret format. Whoever runs Grantlog for the public [joins the secret scanning partner
programme](reported-leaks.md) instead: write to GitHub with the types and expressions below and the
address `<issuer>/leaks/github`, to which GitHub then reports what it finds in public. Point `GRANTLOG_GITHUB_KEYS_URL`
at `https://api.github.com/meta/public_keys/secret_scanning`, or keep a copy of that answer and name it in
`GRANTLOG_GITHUB_KEYS_FILE`; without either nothing is taken. `GRANTLOG_LEAKS_CONTAIN` says which kinds are ended at
once, as soon as one is reported; of the others only an incident is opened.

```sh
grantlog leaks rules --format github
```

```json
"""

GITLAB = """```

## GitLab

A GitLab of your own has secret detection call a *token revocation API*. Set `GRANTLOG_GITLAB_TOKEN`, and in GitLab
`secret_detection_token_revocation_url` to `<issuer>/leaks/gitlab`,
`secret_detection_revocation_token_types_url` to `<issuer>/leaks/gitlab/types`, and
`secret_detection_token_revocation_token` to the same token. The types are `gitleaks_rule_id_` and the rule's id:

"""


def secret_scanning() -> str:
    """The page."""
    parts = [SCANNING_HEAD]
    for kind in Kind:
        parts.append(f"| `{kind.value}` | {kind.description} | `{type_name(kind)}` | `{DEFAULT.pattern(kind)}` |\n")
    for name, (title, words, commands, language) in USE.items():
        lines = "\n".join(commands)
        parts.append(f"\n## {title}\n\n{words}\n\n```sh\n{lines}\n```\n\n")
        parts.append(f"```{language}\n{RULES[name](DEFAULT)}```\n")
    parts += [GITHUB, RULES["github"](DEFAULT), GITLAB]
    parts.append("".join(f"- `gitleaks_rule_id_{type_name(kind).replace('_', '-')}`\n" for kind in Kind))
    return "".join(parts)


# The text of `docs/ocsf.md`: how each type of event is told in OCSF.

OCSF_HEAD = f"""# Events as OCSF records

Generated from the table in `api/audit/ocsf.py` by `make docs`; change it there. `GET /audit/export?format=ocsf` writes
one record of the [Open Cybersecurity Schema Framework](https://schema.ocsf.io/{ocsf.VERSION}/) {ocsf.VERSION} a line.

| member | from |
|---|---|
| `time` | the event's time, in milliseconds; `metadata.original_time` has the microseconds |
| `metadata.uid`, `.sequence`, `.event_code`, `.correlation_uid` | the event's id, position, type and request id |
| `actor` | a person as `user`, a client as `app_uid`, the system as a `user` of type System |
| `actor.session.uid` | the grant or browser session that they acted with |
| `src_endpoint.ip`, `http_request.user_agent` | address and user agent, for a token with `audit:personal` |
| `user` (3001, 3002) | the person that it is about, else the client |
| `entity` (3004) | the stream |
| `status_detail`, `count` | the event's `reason` and `count` |
| `message` | the event's meaning in a sentence |
| `unmapped` | stream, version, data and the paths of what is sealed or erased: nothing is lost |

| type | class | activity | severity | status |
|---|---|---|---|---|
"""


def ocsf_classes() -> str:
    """The page, its types in order."""
    return OCSF_HEAD + "".join(_class_row(f"`{tag}`", ocsf.TABLE[tag]) for tag in sorted(ocsf.TABLE))


def _class_row(name: str, row: ocsf.ClassRow) -> str:
    kind = f"{ocsf.CLASSES[row.class_uid]} ({row.class_uid})"
    status = "Failure" if row.failure else "Success"
    return f"| {name} | {kind} | {row.activity} ({row.activity_id}) | {ocsf.SEVERITIES[row.severity]} | {status} |\n"


PAGES: dict[str, Callable[[], str]] = {
    "events.md": events,
    "ocsf.md": ocsf_classes,
    "secret-scanning.md": secret_scanning,
    "settings.md": settings.page,
}


def main(*, check: bool) -> int:
    outdated = []
    for name, page in PAGES.items():
        path, text = Path(__file__).parent / name, page()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        outdated.append(f"docs/{name}")
        if not check:
            path.write_text(text, encoding="utf-8")
    if outdated:
        print(f"{'Out of date' if check else 'Written'}: {', '.join(outdated)}{'; run `make docs`' if check else ''}")
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
