"""Hosts on one wire: network namespaces, joined by a bridge. It needs root."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.patience import until

__all__ = ("Host", "Lan", "why_not")

_PREFIX = "rw"
_NETWORK = "198.18"
"""Of the addresses for tests of networks, which nothing real has (RFC 2544, appendix C.2.2)."""

_numbers = iter(range(100))


def _ip(*words: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


def why_not() -> str | None:
    """Return why there can be no namespaces here, None where there can."""
    if shutil.which("ip") is None or shutil.which("setpriv") is None:
        return "namespaces need ip and setpriv: apt-get install iproute2 util-linux"
    name = f"{_PREFIX}{os.getpid()}-try"
    done = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True, text=True)
    if done.returncode:
        return f"no network namespaces here: {done.stderr.strip()}"
    _ip("netns", "delete", name)
    return None


class Host:
    """One of them.

    Parameters:
        name: of the namespace, and of its end of the wire that is outside.
        address: its own.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    def spawn(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a process there. It ends with the thread that starts it, so call this in the main thread."""
        command = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.name, *words]
        return subprocess.Popen(command, **options)

    @property
    def pids(self) -> list[int]:
        """All that run there."""
        return [int(pid) for pid in _ip("netns", "pids", self.name, check=False).split()]

    def kill(self) -> None:
        """End everything there at once, as a power cut does."""

        def gone() -> bool:
            for pid in (pids := self.pids):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            return not pids

        until(gone, f"nothing runs on {self.name}")

    def cut(self) -> None:
        """Take it off the wire: what is sent to it, or by it, gets lost without a word."""
        _ip("link", "set", self.name, "down")

    def join(self) -> None:
        """Put it on the wire again."""
        _ip("link", "set", self.name, "up")


class Lan:
    """A bridge with hosts; this process is on it too, at :attr:`gateway`. It is gone after the block.

    Parameters:
        count: how many hosts.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._bridge = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        taken = set(re.findall(rf"inet {re.escape(_NETWORK)}\.(\d+)\.", _ip("-4", "address")))
        third = next(n for n in range(256) if str(n) not in taken)
        self.network = f"{_NETWORK}.{third}.0/24"
        self.gateway = f"{_NETWORK}.{third}.1"
        self.hosts: list[Host] = []

    def __enter__(self) -> Self:
        _sweep()
        try:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("address", "add", f"{self.gateway}/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            for number in range(1, self._count + 1):
                self._add(number)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _add(self, number: int) -> None:
        host = Host(f"{self._bridge}{chr(96 + number)}", f"{self.gateway[:-1]}{number + 1}")
        name = host.name
        _ip("netns", "add", name)
        self.hosts.append(host)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", name, "master", self._bridge, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "address", "add", f"{host.address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host in self.hosts:
            host.kill()
            _ip("netns", "delete", host.name, check=False)
            _ip("link", "delete", host.name, check=False)
        _ip("link", "delete", self._bridge, check=False)


def _sweep() -> None:
    """Remove what runs that were killed have left behind."""
    names = re.findall(
        rf"\b({_PREFIX}(\d+)-\w+)", _ip("netns", "list") + _ip("link", "show", "type", "bridge")
    )
    for name, pid in names:
        if not Path(f"/proc/{pid}").exists():
            _ip("netns", "delete", name, check=False)
            _ip("link", "delete", name, check=False)
