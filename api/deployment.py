"""The first of the settings: where a server is, under which name, and where it keeps its data and its keys."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

SECRET = {"secret": "all"}
SECRET_IN_URL = {"secret": "in_url"}


class Deployment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs from one server to the next; a part of `Settings`, which says how the fields are annotated."""

    environment: Annotated[
        Literal["production", "demo"],
        Meta(
            description="`production`, or `demo`: example people and clients, and a master key made at the first start."
        ),
    ] = "production"
    host: Annotated[str, Meta(description="Address to listen on.", min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Meta(description="Port to listen on.", ge=1, le=65535)] = 8400
    health_host: Annotated[
        str,
        Meta(
            description="Address to listen on for those who look after the server: health in detail, and `/metrics`.",
            min_length=1,
            max_length=255,
        ),
    ] = "127.0.0.1"
    health_port: Annotated[int, Meta(description="Port of that listener; 0 for none.", ge=0, le=65535)] = 8402
    demo_port: Annotated[int, Meta(description="Port of the demo's third-party application.", ge=1, le=65535)] = 8401
    issuer: Annotated[
        str,
        Meta(
            description="The server's public URL and issuer identifier (RFC 8414 §2): https, or http on loopback.",
            extra={"default": "`http://` and the host and port, when the host is a loopback address"},
        ),
    ] = ""
    data_dir: Annotated[Path, Meta(description="Directory for the SQLite file, the demo's files and the throttle.")] = (
        Path("var")
    )
    checkpoint_file: Annotated[
        Path | None,
        Meta(
            description="Where this node keeps the newest signed checkpoint outside the database, so that it does not "
            "start on an older or another one. Each node has its own.",
            extra={"default": "`checkpoint` in the data directory"},
        ),
    ] = None
    database_url: Annotated[
        str,
        Meta(
            description="URL of the database: `sqlite:///…` or `postgresql://…`, which may name several hosts, see "
            "[operations](operations.md#several-postgresql-servers).",
            extra={"default": "`grantlog.db` in the data directory", **SECRET_IN_URL},
        ),
    ] = ""
    migration_database_url: Annotated[
        str,
        Meta(
            description="The same database as the role that owns the tables; migrations run as that role.",
            extra={"default": "`GRANTLOG_DATABASE_URL`", **SECRET_IN_URL},
        ),
    ] = ""
    master_key: Annotated[
        str,
        Meta(
            description="Wraps every key in the vault. Production needs it, or the file.",
            extra={"default": "none", **SECRET},
        ),
    ] = ""
    master_key_file: Annotated[
        Path | None,
        Meta(
            description="File that holds the master key.",
            extra={"default": "none; in the demo `master.key` in the data directory, made at the first start"},
        ),
    ] = None
