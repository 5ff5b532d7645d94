"""A whole site: the reference service on hosts of their own, behind nginx, with what they share."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.free_port import free_port
from tests.patience import DEADLINE, until

from ..postgres_server import PostgresServer
from ..redis_server import RedisServer
from ..reference_service import REFERENCE
from ..server.service import environment, get
from .lan import Host, Lan

__all__ = (
    "PORT",
    "REQUEST",
    "Service",
    "Site",
    "block_of_the_docs",
    "relayed",
    "settings_of_the_docs",
    "site",
)

PORT = 8000
"""Of the service, on each host."""

_POSTGRES_PORT = 5432
_RELAY = Path(__file__).with_name("relay.py")

REQUEST = round(DEADLINE / 12)
"""Seconds that a request may take: 5, or as many more as this machine takes for everything."""

_DOCS = Path(__file__).parents[2] / "docs" / "scaling.md"


class Service:
    """The reference service on one host.

    Parameters:
        host: where.
        folder: for what it writes.
        settings: environment variables.
    """

    def __init__(self, host: Host, folder: Path, settings: dict[str, str]) -> None:
        self.host = host
        self.url = f"http://{host.address}:{PORT}"
        self._folder = folder
        self._environment = environment({"PYTHONPATH": str(REFERENCE), **settings})
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    @property
    def log(self) -> str:
        """All that it has written."""
        return (self._folder / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Of its first process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, or start it again; :meth:`ready` waits for it."""
        command = (sys.executable, "-m", "roadworthy", "run", "reference.main:app")
        with (self._folder / "log").open("ab") as log:
            self._process = self.host.spawn(
                *command, cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )

    def answers(self, path: str) -> bool:
        """Return whether a GET is answered with 200."""
        try:
            return get(self.url, path)[0] == 200
        except OSError:
            return False

    def ready(self) -> None:
        """Wait until it serves."""

        def is_ready() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log[-4000:]
            return self.answers("/readyz")

        until(is_ready, f"{self.host.name} is ready")

    def stop(self) -> int:
        """End it as a release does, with SIGTERM; return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(DEADLINE)

    def kill(self) -> None:
        """End all its processes at once."""
        self.host.kill()
        assert self._process is not None
        self._process.wait(DEADLINE)


@dataclass
class Site:
    """What was started.

    Parameters:
        folder: with its files.
        lan: the wire.
        postgres: at the gateway of the wire.
        redis: there, too.
        port: of nginx on 127.0.0.1.
        services: one on each host.
    """

    folder: Path
    lan: Lan
    postgres: PostgresServer
    redis: RedisServer | None
    port: int
    services: list[Service] = field(default_factory=list[Service])

    @property
    def served(self) -> Counter[str]:
        """How many requests nginx has sent to which host, by address and port."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return Counter(line.split(" ")[0] for line in lines)

    def wait_served(self, service: Service) -> None:
        """Wait until nginx has sent another request to a host, which answered it."""
        with (self.folder / "access.log").open() as log:
            log.seek(0, os.SEEK_END)
            until(
                lambda: f"{service.host.address}:{PORT} 20" in log.read(), f"nginx uses {service.host.name}"
            )

    @property
    def url(self) -> str:
        """Of nginx."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def relayed(host: Host, server: PostgresServer, address: str) -> Iterator[str]:
    """Serve the port of a PostgreSQL server on a host that can be cut off; give the URL.

    Parameters:
        host: it is that of the URL.
        server: what is passed on to.
        address: where hosts reach it.
    """
    command = (sys.executable, str(_RELAY), str(_POSTGRES_PORT), address, str(server.port))
    process = host.spawn(*command)
    try:
        yield server.url.replace(f"127.0.0.1:{server.port}", f"{host.address}:{_POSTGRES_PORT}")
    finally:
        process.kill()
        process.wait(DEADLINE)


@contextmanager
def site(
    folder: Path,
    count: int = 3,
    *,
    store: PostgresServer | None = None,
    replica: PostgresServer | None = None,
    lan: Lan | None = None,
    with_redis: bool = False,
    with_nginx: bool = True,
    **settings: str,
) -> Iterator[Site]:
    """Start everything, and end it with the block.

    Parameters:
        folder: for files.
        count: hosts.
        store: another PostgreSQL than one of its own; it belongs to ``lan``.
        replica: of it.
        lan: the wire with at least so many hosts; one of its own when left out.
        with_redis: limits are shared.
        with_nginx: there is one in front.
        settings: environment variables of the services.
    """
    with ExitStack() as stack:
        wire = lan or stack.enter_context(Lan(count))
        postgres = store or stack.enter_context(
            PostgresServer(wire.network, listen_addresses=f"127.0.0.1,{wire.gateway}", max_connections=100)
        )
        redis = None
        shared = {
            **settings_of_the_docs(),
            "DATABASE_URL": postgres.url.replace("127.0.0.1", wire.gateway),
            "ROADWORTHY_WORKERS": "1",
            "ROADWORTHY_INSTANCES": str(count),
            "ROADWORTHY_TRUSTED_PROXIES": f"{wire.gateway}/32",
            "ROADWORTHY_RATE_LIMIT": "off",
            "ROADWORTHY_REQUEST_TIMEOUT": str(REQUEST),
            "ROADWORTHY_POOL_TIMEOUT": str(REQUEST / 2),
            "ROADWORTHY_LOG_LEVEL": "warning",
        }
        if replica is not None:
            shared["DATABASE_REPLICA_URLS"] = replica.url.replace("127.0.0.1", wire.gateway)
        del shared["REDIS_URL"]
        if with_redis:
            listens = ("--bind", "127.0.0.1", wire.gateway, "--protected-mode", "no")
            redis = stack.enter_context(RedisServer(*listens))
            shared["REDIS_URL"] = redis.url.replace("127.0.0.1", wire.gateway)
        made = Site(folder, wire, postgres, redis, free_port())
        for number, host in enumerate(wire.hosts[:count]):
            made.services.append(Service(host, folder / f"host{number}", {**shared, **settings}))
        for service in made.services:
            service.start()
            stack.callback(service.kill)
        for service in made.services:
            service.ready()
        if with_nginx:
            stack.enter_context(_nginx(folder, made))
        yield made


def block_of_the_docs(name: str) -> str:
    """Return the block of docs/scaling.md that follows a comment with this name."""
    match = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", _DOCS.read_text(), re.DOTALL)
    assert match is not None, name
    return match[1]


def settings_of_the_docs(name: str = "settings") -> dict[str, str]:
    """Return the settings of one machine, as docs/scaling.md has them."""
    return dict(line.split("=", 1) for line in block_of_the_docs(name).splitlines())


def _nginx_of_the_docs(port: int, addresses: list[str]) -> str:
    """Return the servers of docs/scaling.md with these hosts in place of its own.

    Parameters:
        port: on which nginx listens.
        addresses: of the hosts.
    """
    text = block_of_the_docs("nginx").replace("listen 8080", f"listen 127.0.0.1:{port}")
    line = re.search(r"^ *server 10\.0\.0\.1(:8000.*)\n", text, re.MULTILINE)
    assert line is not None
    text = re.sub(r"^ *server 10\.0\.0\.\d+:8000.*\n", "", text, flags=re.MULTILINE)
    servers = "".join(f"    server {address}{line[1]}\n" for address in addresses)
    text = text.replace("    least_conn;\n", f"    least_conn;\n{servers}")
    return re.sub(r"proxy_read_timeout \d+s", f"proxy_read_timeout {REQUEST + 2}s", text)


@contextmanager
def _nginx(folder: Path, made: Site) -> Generator[None]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program is not None, "these tests need nginx: apt-get install nginx"
    servers = _nginx_of_the_docs(made.port, [one.host.address for one in made.services])
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; user root; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        f"events {{}}\nhttp {{ log_format hosts '$upstream_addr $status $request';\n"
        f"access_log {folder}/access.log hosts; {paths}\n{servers} }}\n"
    )
    command = ["setpriv", "--pdeathsig", "TERM", program, "-p", str(folder), "-c", str(configuration)]
    process = subprocess.Popen(command)

    def serves() -> bool:
        assert process.poll() is None, "nginx refused its configuration"
        try:
            return get(made.url, "/livez")[0] == 200
        except OSError:
            return False

    try:
        until(serves, "nginx answers")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)
