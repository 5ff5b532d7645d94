"""nginx and haproxy in front of the service, each with a denied path and a record of what it forwards."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ..servers import free_port
from .wire import ask

__all__ = ("Proxy", "ProxyKind", "in_front_of")

ProxyKind: TypeAlias = Literal["nginx", "haproxy"]
_START_SECONDS = 20.0

_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.txt crit;
events {{ worker_connections 512; }}
http {{
  {temporary}
  log_format seen escape=json '$upstream_addr|$status|$request';
  access_log {folder}/access.txt seen;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  proxy_http_version 1.1; proxy_read_timeout 4s; proxy_send_timeout 4s; proxy_next_upstream off;
  client_header_timeout 4s; client_body_timeout 4s; keepalive_timeout 4s;
  upstream service {{ server 127.0.0.1:{upstream}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location /admin {{ deny all; }}
    location /ws {{
      proxy_pass http://service;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
    }}
    location / {{ proxy_pass http://service; proxy_set_header Connection ""; {buffering} }}
  }}
}}
"""
# The path is decoded before it is compared, as a careful operator has it: nginx does so by itself.
_HAPROXY = """
global
  maxconn 512
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "%b/%s|%ST|%r"
  timeout connect 2s
  timeout client 4s
  timeout server 4s
  timeout tunnel 4s
  timeout http-request 4s
  retries 0
frontend public
  bind 127.0.0.1:{port}
  http-request deny if {{ path,url_dec -m beg /admin }}
  default_backend service
backend service
  http-reuse always
  server app 127.0.0.1:{upstream}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy.

    Parameters:
        port: where it listens.
        record: its access log.
    """

    kind: ProxyKind
    port: int
    record: Path

    def forwarded(self) -> list[str]:
        """Return the request lines that it passed on so far."""
        found: list[str] = []
        for line in self.record.read_text(errors="replace").splitlines():
            parts = line.split("|", 2)
            if len(parts) == 3 and parts[0] not in ("", "-") and "<NOSRV>" not in parts[0]:
                found.append(parts[2])
        return found


def program_of(kind: ProxyKind) -> str | None:
    """Return the path of the program; None when it is not installed."""
    return shutil.which(kind) or shutil.which(kind, path="/usr/sbin")


@contextlib.contextmanager
def in_front_of(upstream: int, kind: ProxyKind, folder: Path) -> Iterator[Proxy]:
    """Start the proxy in front of a service on that port; it ends with the block.

    Raises:
        RuntimeError: it is not installed, or does not start.
    """
    program = program_of(kind)
    if program is None:
        raise RuntimeError(f"{kind} is not installed; as root: apt-get install {kind}")
    port = free_port()
    configuration = folder / f"{kind}.conf"
    record = folder / "access.txt"
    record.touch()
    if kind == "nginx":
        names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in names)
        text = _NGINX.format(
            folder=folder, port=port, upstream=upstream, temporary=temporary,
            buffering="proxy_request_buffering off;",
        )  # fmt: skip
        command = [program, "-p", str(folder), "-c", str(configuration)]
    else:
        text = _HAPROXY.format(port=port, upstream=upstream)
        command = [program, "-db", "-f", str(configuration)]
    configuration.write_text(text)
    with (folder / "errors.txt").open("wb") as errors, record.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out if kind == "haproxy" else errors, stderr=errors
        )
    try:
        end = time.monotonic() + _START_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{kind} did not start: {(folder / 'errors.txt').read_text()[-500:]}")
            time.sleep(0.05)
        yield Proxy(kind, port, record)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return ask(port, seconds=2.0).status == 200
    return False
