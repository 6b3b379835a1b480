"""One's own account for programs: what a dashboard does for a person by a token with the scope `account`."""

from api.account import activity, data, me, own_factors, password, sessions, upstreams

ROUTES = [
    *(*password.ROUTES, *sessions.ROUTES, *activity.ROUTES, *data.ROUTES, *upstreams.ROUTES, *own_factors.ROUTES),
    *me.ROUTES,
]
