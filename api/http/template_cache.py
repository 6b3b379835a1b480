"""Compiled templates, kept where Python keeps what it has compiled of this folder, for the next start."""

import sys
from contextlib import suppress
from hashlib import sha256
from importlib.util import cache_from_source
from io import BytesIO
from pathlib import Path
from typing import IO

import jinja2
from jinja2.bccache import Bucket, FileSystemBytecodeCache

DIGEST_BYTES = 32


class KeptTemplates(FileSystemBytecodeCache):
    """What a template was compiled to, as long as its text, `compiled_by`, the page that says how, and the engine's
    version are the same. Where nothing may be written everything is compiled at each start.

    Each file begins with the SHA-256 of what follows, since nobody waits for a disk here: of a machine that lost its
    power there may be less than was written, and the interpreter does not survive every such code.
    """

    def __init__(self, compiled_by: Path) -> None:
        super().__init__(str(Path(cache_from_source(str(compiled_by))).parent), "template-%s.cache")
        self._how = sha256(compiled_by.read_bytes() + jinja2.__version__.encode()).hexdigest()

    def get_source_checksum(self, source: str) -> str:
        """Tells texts apart, and ways to compile them."""
        return sha256(f"{self._how}\n{source}".encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        """Reads it if it is there, as it was written."""
        with suppress(OSError):
            kept = Path(self._get_cache_filename(bucket)).read_bytes()
            if sha256(kept[DIGEST_BYTES:]).digest() == kept[:DIGEST_BYTES]:
                bucket.bytecode_from_string(kept[DIGEST_BYTES:])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keeps it if it can."""
        if not sys.dont_write_bytecode:
            with suppress(OSError):
                super().dump_bytecode(_Digested(bucket))


class _Digested(Bucket):
    """A bucket that is written behind the digest of what it holds."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket.environment, bucket.key, bucket.checksum)
        self.code = bucket.code

    def write_bytecode(self, f: IO[bytes]) -> None:
        written = BytesIO()
        super().write_bytecode(written)
        f.write(sha256(written.getvalue()).digest() + written.getvalue())
