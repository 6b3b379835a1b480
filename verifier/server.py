"""The log read from a server, over the paths of C2SP tlog-tiles."""

import time
from collections.abc import Callable, Iterator, Sequence

import httpx

from verifier.stored_form import Row
from verifier.tree import HASH_BYTES, WIDTH
from verifier.verdict import SourceError

_TIMEOUT_S = 30.0
_ATTEMPTS = 3
_LONGEST_WAIT_S = 60
_WAITS = 20
"""How often one file is waited for when the server says that it is asked too fast."""


class ServerSource:
    """A server by its address; `…/log` is where it publishes. `transport` and `sleep` are for tests."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        url = url.rstrip("/")
        self._prefix = url if url.endswith("/log") else url + "/log"
        self._entries = token is not None
        self._sleep = sleep
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(headers=headers, timeout=_TIMEOUT_S, transport=transport)

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
        self._client.close()

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
                response = self._patiently(url)
            except httpx.HTTPError as error:
                failure = type(error).__name__
                continue
            if response.status_code == 200:
                return response.content
            if response.status_code == 404:
                return None
            failure = f"status {response.status_code}"
            if response.status_code < 500 and response.status_code != 429:
                break
        raise SourceError(f"the server did not hand out {url}: {failure}")

    def _patiently(self, url: str) -> httpx.Response:
        """Asks as fast as the server allows (RFC 6585 §4)."""
        for _ in range(_WAITS):
            response = self._client.get(url)
            after = response.headers.get("retry-after", "")
            if response.status_code != 429 or not after.isdigit() or int(after) > _LONGEST_WAIT_S:
                break
            self._sleep(int(after))
        return response


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
