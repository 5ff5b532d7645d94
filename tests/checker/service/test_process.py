"""Starting services: the ports they are given."""

import socket
from contextlib import ExitStack

from roadworthy.checker.service.process import free_port


def test_a_port_is_free_on_every_address() -> None:
    """A service that listens on all addresses is not in the way of what uses the port on one of them."""
    with ExitStack() as held:
        for _ in range(500):
            held.enter_context(socket.socket()).bind(("127.0.0.2", 0))
        for _ in range(200):
            with socket.socket() as service:
                service.bind(("0.0.0.0", free_port()))
