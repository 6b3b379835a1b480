"""What the suite's browser does on this server's pages, where the kit's own configuration does not say it."""

from typing import Any

LOGOUT = "${OP}/oauth/logout*"


def _task(name: str, match: str = LOGOUT, *commands: list[Any], optional: bool = False) -> dict[str, Any]:
    return {"task": name, "match": match, "optional": optional, "commands": list(commands)}


def _shown(words: str) -> list[Any]:
    """Waits for the page that a person is to look at, and hands it in."""
    return ["wait", "xpath", "//h1", 10, words, "update-image-placeholder"]


WHOLE = {"$use": "whole"}
"""The kit's way through sign-in and consent."""

CONFIRM = _task("confirm", LOGOUT, ["click", "css", "form.fields button[type=submit]", "optional"], optional=True)
BACK = {"match": LOGOUT, "tasks": [CONFIRM, _task("back", "*/test/*/post*")]}
REFUSED = {"browser": [WHOLE, {"match": LOGOUT, "tasks": [_task("error page", LOGOUT, _shown("cannot be answered"))]}]}
ASKED = {"browser": [WHOLE, {"match": LOGOUT, "tasks": [_task("question", LOGOUT, _shown("Sign out"))]}]}
HERE = {
    "browser": [WHOLE, {"match": LOGOUT, "tasks": [CONFIRM, _task("signed out", LOGOUT, _shown("You are signed out"))]}]
}
MODULE = "oidcc-rp-initiated-logout-"
OVERRIDE = {
    f"{MODULE}bad-post-logout-redirect-uri": REFUSED,
    f"{MODULE}query-added-to-post-logout-redirect-uri": REFUSED,
    f"{MODULE}modified-id-token-hint": REFUSED,
    f"{MODULE}bad-id-token-hint": REFUSED,
    f"{MODULE}no-id-token-hint": ASKED,
    f"{MODULE}no-params": HERE,
    f"{MODULE}no-post-logout-redirect-uri": HERE,
    f"{MODULE}only-state": HERE,
}

AUTHORIZE = "${OP}/oauth/authorize*"
# Not just anything with such an end: the address of the request holds it, too.
CALLBACK = "${SUITE}/test/*/callback*"
FIELD = "form.fields input[name=%s]"
ANOTHER = _task(
    "another person",
    AUTHORIZE,
    ["text", "css", FIELD % "username", "${GL_OTHER_USERNAME}", "optional"],
    ["text", "css", FIELD % "password", "${GL_OTHER_PASSWORD}", "optional"],
    ["click", "css", "form.fields button[type=submit]", "optional"],
    optional=True,
)
DENY = _task("deny", AUTHORIZE, ["click", "css", "button[name=decision][value=deny]"])
RETURNED = _task("back", CALLBACK, ["wait", "id", "submission_complete", 10])
FAPI = "fapi2-security-profile-final-"
OVERRIDE |= {
    # Who allowed the client before is not asked again, so somebody denies who never did.
    f"{FAPI}user-rejects-authentication": {"browser": [{"match": AUTHORIZE, "tasks": [ANOTHER, DENY, RETURNED]}]},
    # The application is told once the person has signed in.
    f"{FAPI}ensure-unsigned-authorization-request-without-using-par-fails": {"browser": [WHOLE]},
}
# A reference that is used up, has expired or is another client's leads to a page, which is handed in where the suite
# wants to see one.
_REFUSED = ["wait", "xpath", "//h1", 10, "cannot be answered", "update-image-placeholder-optional"]
WHOLE_OR_REFUSED = {
    "match": AUTHORIZE,
    "tasks": [
        {"$use": "sign in"},
        {"$use": "approve"},
        _task("refused", AUTHORIZE, _REFUSED, optional=True),
        _task("back", CALLBACK, ["wait", "id", "submission_complete", 10], optional=True),
    ],
}


INITIAL = {"initial_access_token": "${GL_INITIAL_ACCESS_TOKEN}"}
"""By which clients register themselves."""


def completed(configuration: dict[str, Any]) -> dict[str, Any]:
    """A configuration of the kit with what it lacks."""
    parts = configuration["kit_parts"]
    return configuration | {
        **{name: configuration[name] | INITIAL for name in ("client", "client2")},
        "kit_parts": parts if "resource" not in configuration else parts | {"whole": WHOLE_OR_REFUSED},
        "browser": [*configuration["browser"], BACK],
        "override": configuration["override"] | OVERRIDE,
    }
