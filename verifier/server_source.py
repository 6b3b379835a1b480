"""Reads a log from a server, over the paths of C2SP tlog-tiles, with nothing but Python's own library."""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from verifier.order import Row
from verifier.tree import HASH_BYTES, WIDTH
from verifier.verdict import SourceError

_TIMEOUT_S = 30.0
_ATTEMPTS = 3
_LONGEST_WAIT_S = 60
_WAITS = 20
"""How often one file is waited for when the server says that it is asked too fast."""

_LARGEST = (2 + 65_535) * WIDTH
"""Bytes of a bundle whose entries are all as long as any can be."""


class Answer(NamedTuple):
    """What a server answers. `retry_after` is the header's text, empty without one."""

    status: int
    content: bytes = b""
    retry_after: str = ""


Ask = Callable[[str, Mapping[str, str]], Answer]
"""(address, headers) → what a server answers, of whatever status; OSError or HTTPException when nothing comes."""


class KeptConnection:
    """One connection to one server, kept as long as it lasts, by the proxies that the environment names. A redirection
    is an answer like any other: a token goes to the address that was given and nowhere else."""

    def __init__(self) -> None:
        self._connection: HTTPConnection | None = None
        self._through: dict[str, str] = {}

    def __call__(self, url: str, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(url)
        if self._connection is None:
            self._connection, self._through = _connection(parts)
        try:
            self._connection.request("GET", url if self._through else parts.path, headers=self._through | dict(headers))
            response = self._connection.getresponse()
            content = response.read(_LARGEST + 1)
            if len(content) > _LARGEST:
                raise HTTPException("the answer is larger than any file of a log")
        except (OSError, HTTPException):
            self.close()
            raise
        return Answer(response.status, content, response.headers.get("Retry-After", ""))

    def close(self) -> None:
        """Lets go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connection(parts: SplitResult) -> tuple[HTTPConnection, dict[str, str]]:
    """A connection, and what is told to a proxy that is asked for whole addresses; nothing without one."""
    secure, host = parts.scheme == "https", parts.hostname or ""
    kind = HTTPSConnection if secure else HTTPConnection
    proxy = getproxies().get(parts.scheme, "")
    if not proxy or proxy_bypass(host):
        return kind(host, parts.port, timeout=_TIMEOUT_S), {}
    by = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    known = f"{unquote(by.username)}:{unquote(by.password or '')}" if by.username else ""
    told = {"Proxy-Authorization": f"Basic {b64encode(known.encode()).decode()}"} if known else {}
    connection = kind(by.hostname or "", by.port, timeout=_TIMEOUT_S)
    if secure:
        connection.set_tunnel(host, parts.port, told)
        return connection, {}
    return connection, {"Host": parts.netloc.rpartition("@")[2]} | told


class ServerSource:
    """A server by its address; `…/log` is where it publishes. `ask` and `sleep` are for tests."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        ask: Ask | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        url = url.rstrip("/")
        self._prefix = url if url.endswith("/log") else url + "/log"
        self._entries = token is not None
        self._sleep = sleep
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._kept = KeptConnection()
        self._ask: Ask = ask or self._kept

    def newest(self) -> str | None:
        found = self._get("checkpoint")
        if found is None:
            return None
        try:
            return found.decode()
        except UnicodeDecodeError:
            return ""

    def sizes(self) -> Sequence[int]:
        return ()

    def note(self, size: int) -> str:
        raise SourceError("a server shows its newest checkpoint only")

    def rows(self, size: int) -> Iterator[Row] | None:
        return self._rows(size) if self._entries else None

    def tile(self, level: int, number: int, width: int) -> bytes | None:
        tile = self._get(f"tile/{level}/{path_of(number)}", width)
        return None if tile is None or len(tile) < width * HASH_BYTES else tile[: width * HASH_BYTES]

    def close(self) -> None:
        self._kept.close()

    def _rows(self, size: int) -> Iterator[Row]:
        for start in range(0, size, WIDTH):
            width = min(WIDTH, size - start)
            bundle = self._get(f"tile/entries/{path_of(start // WIDTH)}", width)
            entries = [] if bundle is None else split_entries(bundle)[:width]
            yield from (Row(position, leaf) for position, leaf in enumerate(entries, start + 1))
            if len(entries) < width:
                return

    def _get(self, path: str, width: int = WIDTH) -> bytes | None:
        # A partial tile may be gone once the full one exists, which begins with it (tlog-tiles, "Partial Tiles").
        for suffix in (f".p/{width}", "") if width < WIDTH else ("",):
            found = self._fetch(f"{self._prefix}/{path}{suffix}")
            if found is not None:
                return found
        return None

    def _fetch(self, url: str) -> bytes | None:
        failure = ""
        for _ in range(_ATTEMPTS):
            try:
                answer = self._patiently(url)
            except (OSError, HTTPException, ValueError) as error:
                failure = type(error).__name__
                continue
            if answer.status == 200:
                return answer.content
            if answer.status == 404:
                return None
            failure = f"status {answer.status}"
            if answer.status < 500 and answer.status != 429:
                break
        raise SourceError(f"the server did not hand out {url}: {failure}")

    def _patiently(self, url: str) -> Answer:
        """Asks as fast as the server allows (RFC 6585 §4)."""
        for _ in range(_WAITS):
            answer = self._ask(url, self._headers)
            after = answer.retry_after
            if answer.status != 429 or not after.isdigit() or int(after) > _LONGEST_WAIT_S:
                break
            self._sleep(int(after))
        return answer


def path_of(number: int) -> str:
    """The number of a tile as path elements: 1234067 is `x001/x234/067`."""
    path = f"{number % 1000:03d}"
    while number := number // 1000:
        path = f"x{number % 1000:03d}/{path}"
    return path


def split_entries(bundle: bytes) -> list[bytes]:
    """The entries of a bundle, as far as it is whole (tlog-tiles, "Log entries")."""
    entries, at = [], 0
    while at + 2 <= len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if end > len(bundle):
            break
        entries.append(bundle[at + 2 : end])
        at = end
    return entries
