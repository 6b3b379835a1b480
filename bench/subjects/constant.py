"""What everything is compared with: a bare Litestar app that answers one constant JSON object.

`python -m bench.subjects.constant PORT` serves it by the very worker that serves Grantlog.
"""

import sys
from typing import Any

from litestar import Litestar, post

from api.server.callers import Callers
from api.server.worker import Listener, Worker, listen, run

ANSWER: dict[str, str | int | bool] = {
    "active": False,
    "scope": "catalog:read orders:write",
    "token_type": "Bearer",
    "expires_in": 600,
}


@post("/", status_code=200)
async def constant() -> dict[str, str | int | bool]:
    """The same bytes for everybody."""
    return ANSWER


app = Litestar([constant], openapi_config=None, logging_config=None)


def serve(port: int) -> int:
    """Serves it until a signal ends that; the exit code."""
    answering: Any = app
    listener = Listener(listen("127.0.0.1", port), answering, Callers(4096, 1.0, lambda _: True))

    async def serving() -> None:
        await Worker(answering, [listener], name="constant", stop_within=1).serve()

    return run(serving)


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1])))
