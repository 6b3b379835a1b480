"""The two places where a server listens: the main one, and one for those who look after it.

Health, what is behind it, and the numbers are for operators. They have a listener of their own, which nobody else need
be able to reach; the main one says whether the server is in order, and no more.
"""

from typing import Any

from api.http.errors import Missing
from api.http.request_checks import REFUSED
from api.http.request_context import App, Receive, Scope, Send

FOR_OPERATORS = "grantlog.for_operators"
"""Where a scope says that its request came in over the listener for operators."""

PATHS = frozenset(("/health/live", "/health/ready", "/metrics"))


def is_for_operators(scope: Any) -> bool:
    """Whether a request came in over the listener for operators."""
    return FOR_OPERATORS in scope


class ForOperators:
    """The app as that listener shows it: these paths and nothing else."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[FOR_OPERATORS] = True
            if scope["path"] not in PATHS:
                scope.setdefault(REFUSED, Missing("Here are /health/live, /health/ready and /metrics."))
        await self.app(scope, receive, send)
