"""One's own account for programs: what a dashboard does for a person by a token with the scope `account`."""

from api.account import password, sessions

ROUTES = [*password.ROUTES, *sessions.ROUTES]
