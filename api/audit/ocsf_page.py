"""The text of `docs/ocsf.md`: how each type of event is told in OCSF."""

from api.audit import ocsf

HEAD = f"""# Events as OCSF records

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


def page() -> str:
    """The page, its types in order."""
    return HEAD + "".join(_row(f"`{tag}`", ocsf.TABLE[tag]) for tag in sorted(ocsf.TABLE))


def _row(name: str, row: ocsf.Row) -> str:
    kind = f"{ocsf.CLASSES[row.class_uid]} ({row.class_uid})"
    status = "Failure" if row.failure else "Success"
    return f"| {name} | {kind} | {row.activity} ({row.activity_id}) | {ocsf.SEVERITIES[row.severity]} | {status} |\n"
