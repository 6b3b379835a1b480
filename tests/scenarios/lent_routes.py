"""The framework's app with its routes, for one server after the other: to make it takes as long as most scenarios."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from litestar import Litestar
from litestar._openapi.plugin import OpenAPIPlugin
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Server

from api import routes
from api.config.settings import Settings
from api.environment import load

_FREE: dict[tuple[int, bool], list[Litestar]] = {}
"""Routes that nothing runs on, by what they depend on."""

_make = routes.routed


@contextmanager
def lent_routes(settings: Settings) -> Iterator[Litestar]:
    """Routes as `routed` makes them, which others had before."""
    app = _taken(settings)
    try:
        yield app
    except BaseException:
        # What still runs where something failed would reach into the next scenario. Nothing does after a refused start.
        if "services" not in app.state:
            _give_back(settings, app)
        raise
    _give_back(settings, app)


def _give_back(settings: Settings, app: Litestar) -> None:
    for name in [name for name in app.state if name != "errors"]:
        del app.state[name]
    _FREE[_needed(settings)].append(app)


def make_ready() -> None:
    """Makes routes for each process that is forked from this one: its first server has them."""
    usual = load({}, None, environment="demo", data_dir=Path("nowhere"))
    _FREE[_needed(usual)] = [_make(usual)]
    routes.routed = _taken


def _needed(settings: Settings) -> tuple[int, bool]:
    return settings.body_limit, settings.console


def _taken(settings: Settings) -> Litestar:
    """Those that were made for this issuer, or else any: the OpenAPI document is all that names it."""
    free = _FREE.setdefault(_needed(settings), [])
    if not free:
        return _make(settings)
    wanted = [Server(url=settings.issuer)]
    same = [number for number, app in enumerate(free) if _described(app).servers == wanted]
    app = free.pop(same[-1] if same else -1)
    if not same:
        config, made = _described(app), app.plugins.get(OpenAPIPlugin)
        config.servers = wanted
        made._openapi = made._openapi_schema = None
        for plugin in config.render_plugins:
            vars(plugin).update({name: None for name in ("_finished", "_bytes", "_page") if name in vars(plugin)})
    return app


def _described(app: Litestar) -> OpenAPIConfig:
    assert app.openapi_config is not None
    return app.openapi_config
