"""A port that is free now, and that no other test takes meanwhile."""

import itertools
import os
import random
import socket

__all__ = ("free_port",)

_COUNT = 1_500
# Below the ports that the kernel gives to clients and where any is asked for (32768 and above), a part for
# each process of a test run: between the choice and the listener there is a start of seconds, and another
# service on the port was taken for the one that was started.
_FIRST = 20_000 + _COUNT * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw7").removeprefix("gw")) % 8)
_offsets = itertools.count(random.randrange(_COUNT))


def free_port() -> int:
    """Return a port on loopback that nothing listens on."""
    while True:
        port = _FIRST + next(_offsets) % _COUNT
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
