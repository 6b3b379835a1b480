"""Which certificate a request brings (RFC 8705): told by a proxy that ends TLS, in the one header of the settings. It
counts from trusted proxies alone, since anybody could write such a header.
"""

from pathlib import Path
from typing import Any

import structlog
from cryptography.x509 import Certificate

from api.config.settings import Settings
from api.http.request_context import Proxies, header_values, normalise
from security import client_certificates
from security.client_certificates import ClientCertificate

log = structlog.get_logger("api")


class Certificates:
    """Which certificate a request brings, and who vouches for it. One per process."""

    def __init__(self, settings: Settings) -> None:
        self._header = settings.client_certificate_header.lower().encode("ascii")
        self._proxies = Proxies(settings.trusted_proxies)
        self._file: Path | None = settings.client_ca_file
        self._read_at: tuple[int, int] | None = None
        self._authorities: tuple[Certificate, ...] = ()

    def of(self, scope: Any) -> ClientCertificate | None:
        """The certificate that a trusted proxy tells of; None where there is none, or it is told by anybody else."""
        peer = scope.get("client")
        if not self._header or not peer:
            return None
        address = normalise(peer[0])
        values = header_values(scope, self._header)
        if len(values) != 1 or address is None or not self._proxies.trusts(address):
            return None
        return client_certificates.read(values[0].strip())

    def authorities(self) -> tuple[Certificate, ...]:
        """Those of the file, read again when it has changed; as before, or none, while it cannot be read."""
        if self._file is None:
            return ()
        try:
            found = self._file.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp != self._read_at:
                self._authorities = client_certificates.authorities(self._file.read_bytes())
                self._read_at = stamp
        except (OSError, ValueError) as error:
            log.warning("the authorities of clients' certificates cannot be read", cause=type(error).__name__)
        return self._authorities
