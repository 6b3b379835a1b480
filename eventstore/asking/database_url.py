"""URLs of databases as people write them, turned into what SQLAlchemy and PostgreSQL's library both understand."""

from urllib.parse import parse_qsl, quote, urlencode

DEFAULT_PORT = "5432"


def understood(url: str) -> str:
    """The same database by a URL that can be parsed.

    The bare scheme `postgresql` means another driver to SQLAlchemy than the one that is installed. Of several hosts
    (`@a:1,b:2/name`, as PostgreSQL's own URIs have them) it knows only as `?host=a,b&port=1,2`.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("postgresql", "postgresql+psycopg"):
        return url
    network, slash, path = rest.partition("/")
    user, at, hosts = network.rpartition("@")
    if "," in hosts:
        database, _, query = path.partition("?")
        pairs = [_host_and_port(each) for each in hosts.split(",")]
        given = {"host": ",".join(host for host, _ in pairs), "port": ",".join(port for _, port in pairs)}
        options = [*given.items(), *parse_qsl(query, keep_blank_values=True)]
        network, slash, path = f"{user}{at}", "/", f"{database}?{urlencode(options, safe=',:', quote_via=quote)}"
    return f"postgresql+psycopg://{network}{slash}{path}"


def _host_and_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        # An IPv6 address (RFC 3986 §3.2.2).
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or DEFAULT_PORT
    host, _, port = text.partition(":")
    return host, port or DEFAULT_PORT
