"""Events as records of the Open Cybersecurity Schema Framework 1.5.0, for a SIEM that speaks it.

Four classes tell all of it: Account Change (3001), Authentication (3002), Entity Management (3004) and API Activity
(6003). What OCSF has no member for stands under `unmapped`, so nothing is lost."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from api.audit.rendering import ShownEvent, meaning
from security.clock import parse_rfc3339

VERSION = "1.5.0"

ACCOUNT_CHANGE, AUTHENTICATION, ENTITY_MANAGEMENT, API_ACTIVITY = 3001, 3002, 3004, 6003

CLASSES: Mapping[int, str] = {
    ACCOUNT_CHANGE: "Account Change",
    AUTHENTICATION: "Authentication",
    ENTITY_MANAGEMENT: "Entity Management",
    API_ACTIVITY: "API Activity",
}
CATEGORIES: Mapping[int, str] = {3: "Identity & Access Management", 6: "Application Activity"}
OTHER = 99
INFORMATIONAL, LOW, MEDIUM, HIGH = 1, 2, 3, 4
SEVERITIES: Mapping[int, str] = {INFORMATIONAL: "Informational", LOW: "Low", MEDIUM: "Medium", HIGH: "High"}


class ClassRow(NamedTuple):
    """How a type of event is told: its class, the activity within it, how severe it is, and whether it is a failure."""

    class_uid: int
    activity_id: int
    activity: str
    severity: int = INFORMATIONAL
    failure: bool = False


_TOLD: Mapping[ClassRow, str] = {
    ClassRow(ACCOUNT_CHANGE, 1, "Create"): "account.registered",
    ClassRow(ACCOUNT_CHANGE, 2, "Enable"): "account.enabled",
    ClassRow(ACCOUNT_CHANGE, 3, "Password Change"): "account.password_changed",
    ClassRow(ACCOUNT_CHANGE, 4, "Password Reset"): "account.recovered",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Invitation"): "account.invited account.invitation_accepted",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Notice Preferences"): "account.notices_changed",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Address Verification"): "account.verification_requested account.email_verified",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Address Change", LOW): (
        "account.email_change_requested account.email_change_confirmed"
    ),
    ClassRow(ACCOUNT_CHANGE, OTHER, "Recovery Request", LOW): (
        "account.recovery_requested realm.unknown_recovery_requested realm.recoveries_requested "
        "realm.registrations_requested"
    ),
    ClassRow(ACCOUNT_CHANGE, 5, "Disable", LOW): "account.disabled",
    ClassRow(ACCOUNT_CHANGE, 6, "Delete", LOW): "account.erased",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Erasure Request", LOW): "account.erasure_requested account.erasure_withdrawn",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Data Export", LOW): "account.data_exported",
    ClassRow(ACCOUNT_CHANGE, 10, "MFA Factor Enable"): "account.totp_enrolled account.passkey_enrolled",
    ClassRow(ACCOUNT_CHANGE, 11, "MFA Factor Disable", LOW): "account.factor_removed",
    ClassRow(ACCOUNT_CHANGE, 11, "MFA Factor Disable", MEDIUM): "account.factors_reset",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Upstream Link", LOW): "account.upstream_linked account.upstream_unlinked",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Recovery Codes"): "account.recovery_codes_issued",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Password Rehash"): "account.password_rehashed",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Profile Change"): "account.profile_changed",
    ClassRow(ACCOUNT_CHANGE, OTHER, "Role Change", LOW): "account.roles_changed",
    ClassRow(AUTHENTICATION, 1, "Logon"): (
        "session.started session.stepped_up account.factor_verified account.upstream_verified"
    ),
    ClassRow(AUTHENTICATION, 1, "Logon", LOW, failure=True): (
        "account.sign_in_failed realm.unknown_user_refused realm.sign_ins_refused client.authentication_failed "
        "server.unknown_client_refused server.clients_refused"
    ),
    ClassRow(AUTHENTICATION, 1, "Logon", MEDIUM, failure=True): "client.secret_expired_used account.factor_failed",
    ClassRow(AUTHENTICATION, 1, "Logon", HIGH, failure=True): "account.passkey_counter_reversed",
    ClassRow(AUTHENTICATION, 2, "Logoff"): "session.ended session.logout_delivered grant.token_revoked grant.ended",
    ClassRow(AUTHENTICATION, 2, "Logoff", MEDIUM, failure=True): "session.logout_failed",
    ClassRow(AUTHENTICATION, 2, "Logoff", MEDIUM): "client.tokens_ended account.tokens_ended",
    ClassRow(AUTHENTICATION, 2, "Logoff", HIGH): "grants.ended_together",
    ClassRow(AUTHENTICATION, 3, "Authentication Ticket"): (
        "grant.code_issued grant.details_given grant.device_requested grant.device_approved pushed_request.decided"
    ),
    ClassRow(AUTHENTICATION, 4, "Service Ticket Request"): "grant.code_redeemed grant.tokens_issued grant.exchanged",
    ClassRow(AUTHENTICATION, 4, "Service Ticket Request", LOW, failure=True): "grant.code_refused",
    ClassRow(AUTHENTICATION, 4, "Service Ticket Request", MEDIUM, failure=True): "client.token_limit_reached",
    ClassRow(AUTHENTICATION, 4, "Service Ticket Request", HIGH, failure=True): "grant.code_replayed",
    ClassRow(AUTHENTICATION, 5, "Service Ticket Renew"): (
        "grant.tokens_refreshed grant.access_token_issued grant.successor_replaced"
    ),
    ClassRow(AUTHENTICATION, 5, "Service Ticket Renew", LOW, failure=True): "grant.refresh_refused",
    ClassRow(AUTHENTICATION, 5, "Service Ticket Renew", HIGH, failure=True): "grant.refresh_replayed",
    ClassRow(ENTITY_MANAGEMENT, 1, "Create"): (
        "client.registered consent.given scope.defined initial_access_token.issued event_stream.created log.archived"
    ),
    ClassRow(ENTITY_MANAGEMENT, 1, "Create", LOW): (
        "role.defined trusted_issuer.trusted upstream.configured authorization_detail_type.defined "
        "mac_key.introduced signing_key.introduced log_key.introduced hold.placed "
        "destination.configured server.subject_key_introduced"
    ),
    ClassRow(ENTITY_MANAGEMENT, 1, "Create", HIGH): "incident.reported",
    ClassRow(ENTITY_MANAGEMENT, 1, "Create", LOW, failure=True): (
        "server.registrations_refused initial_access_token.registration_refused"
    ),
    ClassRow(ENTITY_MANAGEMENT, 3, "Update", LOW, failure=True): "client.registration_change_refused",
    ClassRow(ENTITY_MANAGEMENT, 3, "Update"): (
        "client.updated client.keys_registered client.registration_token_issued client.secret_issued "
        "client.secret_rotated client.rotation_scheduled consent.extended scope.changed initial_access_token.used "
        "event_stream.changed event_stream.status_changed client.foreign_secret_imported"
    ),
    ClassRow(ENTITY_MANAGEMENT, 3, "Update", LOW): (
        "client.secret_revoked client.key_revoked client.foreign_secret_ended "
        "client.registration_token_revoked client.rotation_unscheduled role.changed "
        "realm_policy.changed branding.changed "
        "initial_access_token.revoked incident.secrets_added incident.evidence_added incident.assigned "
        "incident.somebody_informed incident.closed "
        "grants.settled destination.tested destination.replayed"
    ),
    ClassRow(ENTITY_MANAGEMENT, 3, "Update", MEDIUM): (
        "server.issuer_accepted server.feature_level_raised transfer.imported transfer.exported"
    ),
    ClassRow(ENTITY_MANAGEMENT, 3, "Update", HIGH): (
        "log_key.succeeded incident.identified incident.contained signing_key.exposed"
    ),
    ClassRow(ENTITY_MANAGEMENT, 4, "Delete"): "consent.withdrawn scope.retired event_stream.deleted",
    ClassRow(ENTITY_MANAGEMENT, 4, "Delete", LOW): (
        "client.deleted role.retired hold.released trusted_issuer.distrusted authorization_detail_type.removed "
        "upstream.removed "
        "destination.removed origin.month_destroyed"
    ),
    ClassRow(ENTITY_MANAGEMENT, 4, "Delete", MEDIUM): "log_key.revoked signing_key.revoked log.archive_dropped",
    ClassRow(ENTITY_MANAGEMENT, 4, "Delete", HIGH): "log.forged_removed",
    ClassRow(ENTITY_MANAGEMENT, 8, "Enable"): "client.enabled",
    ClassRow(ENTITY_MANAGEMENT, 9, "Disable", LOW): "client.disabled",
    ClassRow(ENTITY_MANAGEMENT, 10, "Activate"): "server.started demo.history_begins",
    ClassRow(ENTITY_MANAGEMENT, 10, "Activate", LOW): "log_key.activated signing_key.activated",
    ClassRow(ENTITY_MANAGEMENT, 11, "Deactivate", LOW): "mac_key.retired signing_key.retired log_key.retired",
    ClassRow(ENTITY_MANAGEMENT, 12, "Suspend", MEDIUM): "server.issuance_suspended",
    ClassRow(ENTITY_MANAGEMENT, 12, "Suspend", HIGH): "server.log_diverged",
    ClassRow(ENTITY_MANAGEMENT, 13, "Resume", LOW): "server.issuance_resumed",
    ClassRow(ENTITY_MANAGEMENT, 13, "Resume", HIGH): "server.divergence_accepted",
    ClassRow(ENTITY_MANAGEMENT, OTHER, "Deny"): "consent.denied grant.device_denied",
    ClassRow(ENTITY_MANAGEMENT, OTHER, "Differ", HIGH, failure=True): "server.projection_differed",
    ClassRow(ENTITY_MANAGEMENT, OTHER, "Rotation Announcement", LOW): "client.rotation_announced",
    ClassRow(API_ACTIVITY, 1, "Create"): "pushed_request.received event_stream.signal_delivered",
    ClassRow(API_ACTIVITY, 1, "Create", MEDIUM, failure=True): "event_stream.signal_failed",
    ClassRow(API_ACTIVITY, 2, "Read"): (
        "usage.token_first_seen usage.token_seen usage.first_seen usage.seen audit.read audit.watched "
        "audit.export_opened audit.list_export_opened audit.export_closed audit.stream_opened audit.stream_closed"
    ),
}

TABLE: Mapping[str, ClassRow] = {tag: row for row, tags in _TOLD.items() for tag in tags.split()}
"""How each type of event is told."""

FAILURES = frozenset(tag for tag, row in TABLE.items() if row.failure)
"""Types of events that tell of something that did not succeed."""


def record(event: ShownEvent, *, issuer: str, product_version: str) -> dict[str, Any]:
    """One record. Personal values stand in it as far as they do in the event that is given."""
    row = TABLE[event.type]
    category = row.class_uid // 1000
    found: dict[str, Any] = {
        "activity_id": row.activity_id,
        "activity_name": row.activity,
        "category_uid": category,
        "category_name": CATEGORIES[category],
        "class_uid": row.class_uid,
        "class_name": CLASSES[row.class_uid],
        "type_uid": row.class_uid * 100 + row.activity_id,
        "type_name": f"{CLASSES[row.class_uid]}: {row.activity}",
        "severity_id": row.severity,
        "severity": SEVERITIES[row.severity],
        "status_id": 2 if row.failure else 1,
        "status": "Failure" if row.failure else "Success",
        "time": parse_rfc3339(event.time) // 1000,
        "message": meaning(event.type, event.data),
        "metadata": _metadata(event, product_version),
        "actor": _actor(event),
        "unmapped": {
            "stream": event.stream,
            "version": event.version,
            "data": event.data,
            "sealed": event.sealed,
            "erased": event.erased,
        },
    }
    reason = event.data.get("reason")
    if isinstance(reason, str):
        found["status_detail"] = reason
    if isinstance(event.data.get("count"), int) and event.data["count"] > 0:
        found["count"] = event.data["count"]
    if event.ip is not None:
        found["src_endpoint"] = {"ip": event.ip}
    if event.user_agent is not None:
        found["http_request"] = {"user_agent": event.user_agent}
    return found | _of_class(event, row.class_uid, issuer, found)


def _of_class(event: ShownEvent, class_uid: int, issuer: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The members that one class alone has or demands."""
    match class_uid:
        case 3001:
            return {"user": _account(event)}
        case 3002:
            return {
                "user": _who(event),
                "service": {"name": "Grantlog", "uid": issuer},
                "auth_protocol_id": 6,
                "auth_protocol": "OAUTH 2.0",
            }
        case 3004:
            kind, _, name = event.stream.partition(":")
            return {"entity": {"uid": event.stream, "name": name, "type_id": OTHER, "type": kind}}
        case _:
            operation = event.data.get("question", event.type)
            # A source is demanded here even where none is known or may be shown.
            source = found.get("src_endpoint", {"name": "unknown"})
            return {"api": {"operation": str(operation)}, "src_endpoint": source}


def _metadata(event: ShownEvent, product_version: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "version": VERSION,
        "uid": event.id,
        "sequence": event.position,
        "event_code": event.type,
        "log_name": "grantlog",
        "original_time": event.time,
        "product": {"name": "Grantlog", "vendor_name": "Grantlog", "version": product_version},
    }
    if event.request_id is not None:
        metadata["correlation_uid"] = event.request_id
    return metadata


def _actor(event: ShownEvent) -> dict[str, Any]:
    who, credential = event.actor, event.actor.credential or {}
    session = credential.get("session_id") or credential.get("grant_id")
    found: dict[str, Any] = {} if session is None else {"session": {"uid": session}}
    match who.kind:
        case "person" if who.id is not None:
            return found | {"user": {"uid": who.id, "type_id": 1, "type": "User"}}
        case "client" if who.id is not None:
            return found | {"app_uid": who.id, "app_name": "client"}
        case "system":
            return found | {"user": {"name": credential.get("user", "system"), "type_id": 3, "type": "System"}}
        case _:
            return found | {"app_name": "anonymous"}


def _account(event: ShownEvent) -> dict[str, Any]:
    user: dict[str, Any] = {"uid": event.stream.partition(":")[2], "type_id": 1, "type": "User"}
    for member, field in (("name", "username"), ("email_addr", "email"), ("full_name", "name")):
        if isinstance(event.data.get(field), str):
            user[member] = event.data[field]
    return user


def _who(event: ShownEvent) -> dict[str, Any]:
    """Whose authentication it is: the person's, else the client's, else a stranger's."""
    kind, _, name = event.stream.partition(":")
    account_id = event.data.get("account_id") or (name if kind == "account" else None)
    if account_id is None and event.actor.kind == "person":
        account_id = event.actor.id
    if account_id is not None:
        return {"uid": account_id, "type_id": 1, "type": "User"}
    client_id = event.data.get("client_id") or (name if kind == "client" else None)
    if client_id is None and event.actor.kind == "client":
        client_id = event.actor.id
    if client_id is not None:
        return {"uid": client_id, "type_id": OTHER, "type": "Client"}
    return {"name": "unknown", "type_id": 0, "type": "Unknown"}
