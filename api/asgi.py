"""The app as an ASGI server loads it: `api.asgi:app`, from the environment's settings."""

from functools import partial

from api.app import create
from api.environment import load
from api.http.log_lines import configure
from api.http.templates import compile_templates
from api.issuers.hosts import Hosts
from security.keyring import open_keyring

settings = load()
configure(
    format=settings.log_format,
    level=settings.log_level,
    prefixes=(settings.token_prefix, *settings.former_token_prefixes),
)

compile_templates()

# Opened by each worker: one that begins after a key was put into the file knows it.
file = settings.master_key_file or settings.data_dir / "master.key"
app = Hosts(create(settings, partial(open_keyring, settings.master_key, file, create=False)), settings)
