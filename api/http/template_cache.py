"""Compiled templates, kept where Python keeps what it has compiled of this folder, for the next start."""

import sys
from contextlib import suppress
from hashlib import sha256
from importlib.util import cache_from_source
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket, FileSystemBytecodeCache

ROOM = Path(__file__).parents[1] / "templates"
"""Where they are."""


class KeptTemplates(FileSystemBytecodeCache):
    """What a template was compiled to, as long as its text, `compiled_by`, the page that says how, and the engine's
    version are the same. Where nothing may be written everything is compiled at each start."""

    def __init__(self, compiled_by: Path) -> None:
        super().__init__(str(Path(cache_from_source(str(compiled_by))).parent), "template-%s.cache")
        self._how = sha256(compiled_by.read_bytes() + jinja2.__version__.encode()).hexdigest()

    def get_source_checksum(self, source: str) -> str:
        """Tells texts apart, and ways to compile them."""
        return sha256(f"{self._how}\n{source}".encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        """Reads it if it is there."""
        with suppress(OSError):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keeps it if it can."""
        if not sys.dont_write_bytecode:
            with suppress(OSError):
                super().dump_bytecode(bucket)
