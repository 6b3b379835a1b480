"""Sockets to listen on, made once by the parent and shared by all workers."""

import resource
import socket

BACKLOG = 2048
"""Connections that the kernel keeps until a worker takes them, as far as the system lets it."""

RESERVE = 256
"""Descriptors beside those of connections: files, databases, the server's own questions to others."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError when the address is taken, or none of this machine's."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    opened = socket.socket(family, kind, protocol)
    try:
        # What is left of closed connections does not count.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def is_taken(host: str, port: int) -> bool:
    """Whether nobody else could listen there."""
    try:
        listen(host, port).close()
    except OSError:
        return True
    return False


def room_for(connections: int) -> int:
    """How many connections a worker can hold of those that were asked for, after raising the limit of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return min(connections, max(1, soft - RESERVE))
    return connections
