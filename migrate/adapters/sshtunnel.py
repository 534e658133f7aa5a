"""A local port that leads through an SSH connection to a port on the host's loopback."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import paramiko

CHUNK_BYTES = 64 * 1024


@contextlib.contextmanager
def listen_and_forward(transport: paramiko.Transport, port: int, open_seconds: float) -> Iterator[int]:
    """A port on 127.0.0.1 for the time of the context; each connection to it becomes a channel of its own.

    A connection that the host does not take within `open_seconds` is closed without a word of data.
    """
    streams = contextlib.ExitStack()
    with socket.create_server(("127.0.0.1", 0)) as listener, streams:
        acceptor = threading.Thread(
            target=_accept, args=(listener, transport, port, open_seconds, streams), daemon=True, name=f"tunnel-{port}"
        )
        acceptor.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join(open_seconds)


def _accept(
    listener: socket.socket,
    transport: paramiko.Transport,
    port: int,
    open_seconds: float,
    streams: contextlib.ExitStack,
) -> None:
    while True:
        try:
            local, peer = listener.accept()
        except OSError:
            return  # the listener was shut down: the tunnel is over
        streams.callback(local.close)
        try:
            channel = transport.open_channel("direct-tcpip", ("127.0.0.1", port), peer, timeout=open_seconds)
        except (paramiko.SSHException, OSError, EOFError):
            local.close()
            continue
        streams.callback(channel.close)
        for source, target in ((local, channel), (channel, local)):
            threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket | paramiko.Channel, target: socket.socket | paramiko.Channel) -> None:
    try:
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
        _end_writing(target)
    except OSError:
        source.close()
        target.close()


def _end_writing(stream: socket.socket | paramiko.Channel) -> None:
    if isinstance(stream, socket.socket):
        stream.shutdown(socket.SHUT_WR)
    else:
        stream.shutdown_write()
