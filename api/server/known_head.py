"""The head of a request that is, octet for octet, the one before it on the same connection. Most clients send ever the
same one, and what the server itself does for a request is for the most part to take its head apart."""

import msgspec

from api.http.request_context import FIELDS, Scope
from api.server.exchange import ENOUGH, Carrier, Exchange

END = b"\r\n\r\n"

LONGEST = 4_096
"""Octets of a head that is known again: every idle connection keeps one."""


class KnownHead(msgspec.Struct, frozen=True, eq=False):
    """A head that was taken apart, of a request with nothing unusual about it (`exchange.is_plain`)."""

    _octets: bytes
    _size: int
    """That of the whole request, whose body is as long as the head says."""
    _scope: Scope

    @classmethod
    def of(cls, request: bytes, scope: Scope) -> "KnownHead | None":
        """The head of a whole request, of which the parser made this scope; None unless the octets are those of this
        one request, and no more than may wait."""
        end = request.find(END) + len(END)
        length = int(scope[FIELDS].get(b"content-length", b"0"))
        if not len(END) <= end <= LONGEST or end + length != len(request) or length > ENOUGH:
            return None
        own = {**scope, "headers": [*scope["headers"]], FIELDS: scope[FIELDS].copy()}
        return cls(request[:end], len(request), own)

    def again(self, carrier: Carrier, data: bytes) -> Exchange | None:
        """The request whose octets these are, if they are all of one with this head; None for anything else."""
        if len(data) != self._size or not data.startswith(self._octets):
            return None
        scope = self._scope.copy()
        # Who answers may put something there.
        scope["headers"], scope[FIELDS] = [*scope["headers"]], scope[FIELDS].copy()
        return Exchange.come(carrier, scope, data[len(self._octets) :])
