"""What a client and a worker say to each other over the Unix socket: a length and a marshalled dict; a byte per signal.

A request carries the client's standard streams as file descriptors. Stream sockets, both ends on one machine and of
one user (the socket has mode 0600, so what marshal reads is that user's own). Light: imported by every command line,
hence marshal, which is built in: json takes 9 ms to import.
"""

from __future__ import annotations

import marshal
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LENGTH_BYTES = 8
STREAMS = 3  # stdin, stdout, stderr
MOST_BYTES = 64 << 20
FORMAT = 2  # of marshal: the same in every Python 3


class Closed(Exception):
    """The other side has gone."""


def send(connection: socket.socket, message: dict[str, Any], streams: tuple[int, ...] = ()) -> None:
    """Sends one message; `streams` are file descriptors that go with it. Closed when nobody listens."""
    text = marshal.dumps(message, FORMAT)
    try:
        head = len(text).to_bytes(LENGTH_BYTES, "little")
        if streams:
            socket.send_fds(connection, [head], list(streams))
            connection.sendall(text)
        else:
            connection.sendall(head + text)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Closed from error


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """One message and the file descriptors that came with it. Closed at the end of the stream, TimeoutError."""
    try:
        head, streams, _, _ = socket.recv_fds(connection, LENGTH_BYTES, STREAMS)
        head += _exactly(connection, LENGTH_BYTES - len(head)) if head else b""
    except ConnectionResetError as error:
        raise Closed from error
    if not head:
        raise Closed
    try:
        length = int.from_bytes(head, "little")
        if length > MOST_BYTES:
            raise Closed
        return marshal.loads(_exactly(connection, length)), streams
    except BaseException:
        for stream in streams:
            os.close(stream)
        raise


def _exactly(connection: socket.socket, n: int) -> bytes:
    parts = []
    while n:
        part = connection.recv(n)
        if not part:
            raise Closed
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def is_own_peer(connection: socket.socket) -> bool:
    """Whether the process at the other end is this user's."""
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(user == os.geteuid())


def open_socket(folder: str, name: str, connect: bool) -> socket.socket:
    """A socket at folder/name, connected to it or bound to it (mode 0600). OSError when that fails.

    The address is taken relative to the folder's descriptor: a Unix address has 107 bytes, a path may be longer.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        address = f"/proc/self/fd/{descriptor}/{name}"
        if connect:
            opened.connect(address)
            if not is_own_peer(opened):
                raise PermissionError(f"{folder}/{name}: another user's process listens there")
        else:
            before = os.umask(0o177)
            try:
                opened.bind(address)
            finally:
                os.umask(before)
    except BaseException:
        opened.close()
        raise
    finally:
        os.close(descriptor)
    return opened
