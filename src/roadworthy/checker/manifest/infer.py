"""What a check can find out about a service by itself, each fact with the evidence for it.

The service is started with several variables that could set its port, looked at as a process (sockets, files,
output), and asked over HTTP. A fact is kept only when a control confirms it: a health path counts when a
path at random is answered otherwise, a route that creates when what it made can be read back. What cannot be
seen from outside is not guessed; :data:`ASK` names it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..custody import Custody, Place
from ..errors import ManifestError, StartFailed
from ..http.request import Address
from ..http.wire import exchange
from ..read.shapes import elements
from ..scratch import scratch_folder
from ..service import linux
from ..service.process import Service, free_port
from ..service.startup import StartUp
from ..service.target import attach
from ..store.kinds import PORTS, kind_of
from .infer_routes import Explorer, Fact
from .model import Manifest
from .port import with_port
from .routes import Routes
from .variables import expand

__all__ = ("ASK", "SECRET", "Fact", "Inference", "infer")

ASK = {
    "routes.slow": "a route that takes two seconds, for shutdown and deadlines",
    "routes.fails": "a route that raises, for error handling",
    "workers.env": "the variable that sets the number of workers",
    "database.pool_max": "the size of the connection pool",
    "cors.policy": '"none", "public", or cors.origins',
    "rate_limit.trusted_proxy_hops": "how many proxies are in front",
    "shutdown.style": '"lame-duck" (serves on while readiness is negative) or "stop"',
}
"""What cannot be seen from outside, by its place in the manifest."""

_PORTS = ("PORT", "HTTP_PORT", "SERVER_PORT", "APP_PORT", "UVICORN_PORT")
_MORE_PORTS = ("OPS_PORT", "METRICS_PORT", "MANAGEMENT_SERVER_PORT", "MANAGEMENT_PORT")
_MINIMAL = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "JAVA_HOME", "NODE_PATH")
_MOST_ROUNDS = 10
SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|API_?KEY|PRIVATE")
"""What the name of a variable has whose value must not be shown."""
_OTHERS_WAIT = 1.0
_STORE_PORTS = {port: kind for kind, port in PORTS.items()}
_STORE_FILE = re.compile(r"(.+\.(?:db|sqlite|sqlite3))(?:-wal|-shm|-journal)?")
_MISSING = re.compile(
    r"required|missing|not set|must be (?:set|defined|provided)|undefined|KeyError|expected", re.I
)
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
# pydantic-settings writes the field's name on a line of its own.
_FIELD = re.compile(r"^([a-z][a-z0-9_]*)\n\s+Field required", re.MULTILINE)


@dataclass(slots=True)
class Inference:
    """What was found out.

    Parameters:
        manifest: the given manifest, completed with the facts.
        custody: makes what each start gets in place of the service's data.
        facts: by their place in the manifest, in the order of discovery.
        notes: what was tried and could not be determined.
    """

    manifest: Manifest
    custody: Custody
    facts: dict[str, Fact] = field(default_factory=dict[str, Fact])
    notes: list[str] = field(default_factory=list[str])
    starts: int = 0

    def add(self, place: str, value: Any, evidence: str) -> None:
        """Keep a fact unless the manifest declares that key."""
        if place not in self.manifest.lines:
            self.facts.setdefault(place, Fact(value, evidence))


async def infer(manifest: Manifest) -> Inference:
    """Find out about the service what the manifest does not say; ends whatever it started.

    Raises:
        StartFailed: it does not start, or listens nowhere.
        ManifestError: the manifest refers to a variable that is not set.
    """
    folder = scratch_folder("roadworthy-infer-")
    found = Inference(manifest, Custody(manifest, folder, secrets.token_hex(3)))
    try:
        await found.custody.prepare()
        if manifest.startable:
            await _from_process(found, folder)
        else:
            target = await attach(manifest)
            await _explore(found, target.address, [])
    finally:
        await found.custody.close()
        shutil.rmtree(folder, ignore_errors=True)
    if found.custody.why:
        found.notes.append(f"nothing was written ({found.custody.why}), so routes.create could not be tried")
    found.manifest = _merged(found.manifest, found.facts)
    return found


async def _explore(found: Inference, address: Address, others: list[tuple[str, Address]]) -> None:
    explorer = Explorer(address, found.manifest, found.add, found.notes.append, found.custody.may_write)
    await explorer.everything(others)


async def _from_process(found: Inference, folder: Path) -> None:
    start = await _first_start(found)
    try:
        _add_port(found, start)
        found.custody.look_first(start.service, start.place)
        others = [
            (name, Address(start.address.host, port))
            for name, port in start.given.items()
            if name in _MORE_PORTS and port in start.ports
        ]
        fixed = start.ports - set(start.given.values()) - {start.address.port}
        others += [("", Address(start.address.host, port)) for port in sorted(fixed)]
        if others and others[0][0]:
            found.add(
                "listen.ports", [name for name, _ in others if name], "a port of its own was taken for each"
            )
        await _explore(found, start.address, others)
        _add_logs(found, start.service)
        _add_store(found, start)
    finally:
        await start.close()
    await _add_environment(found)
    await _confirm_store_variable(found, folder)


@dataclass(slots=True)
class _Start:
    """One start of the service, up to the moment at which it listens."""

    service: Service
    given: dict[str, int]
    address: Address
    ports: set[int]
    place: Place

    async def close(self) -> None:
        """End it, and remove what was made for it."""
        await self.service.close()
        await self.place.release()

    @classmethod
    async def listening(
        cls, found: Inference, environment: Mapping[str, str], more: Mapping[str, str]
    ) -> _Start:
        manifest = found.manifest
        host = manifest.listen.host
        given = {name: free_port(host) for name in (*_PORTS, *_MORE_PORTS, *manifest.listen.ports)}
        if manifest.listen.port_env:
            given.setdefault(manifest.listen.port_env, free_port(host))
        port = given[manifest.listen.port_env or "PORT"]
        full = {**environment, **{name: str(number) for name, number in given.items()}}
        full |= {name: expand(value) for name, value in {**manifest.env.set, **manifest.check.env}.items()}
        full |= more
        words = [expand(word.replace("{port}", str(port)), full) for word in manifest.start.command]
        found.starts += 1
        folder = found.custody.folder / f"start-{found.starts}"
        folder.mkdir()
        place = await found.custody.place(full, folder, None)
        cwd, full = found.custody.cwd, place.environment(full)
        if place.work is not None:
            cwd, words = place.work.cwd, [place.work.command_word(word) for word in words]
        try:
            service = await Service.start(words, full, cwd, shell=manifest.start.shell)
            try:
                address, ports = await _await_listener(service, manifest, given)
            except BaseException:
                await service.close()
                raise
        except BaseException:
            await place.release()
            raise
        return cls(service, given, address, ports, place)


async def _await_listener(
    service: Service, manifest: Manifest, given: Mapping[str, int]
) -> tuple[Address, set[int]]:
    """Wait until it answers HTTP on the port that was asked for, or, after a while, on one of its own."""
    began, start = time.monotonic(), StartUp(service, manifest.ready.timeout)
    asked = {given[name] for name in (*_PORTS, manifest.listen.port_env) if name}
    while not start.over:
        if service.ended is not None:
            await service.wait_silence(1.0)
            raise StartFailed(
                f"the service ended with {service.ended} at its start. The last it wrote:\n{_tail(service)}"
            )
        ports = {port for _, port in service.listening()}
        # A listener for operations may be up first, and must not pass for the public one.
        own = ports - set(given.values()) if time.monotonic() > began + _OTHERS_WAIT else set[int]()
        for port in (*sorted(ports & asked), *sorted(own)):
            address = Address(manifest.listen.host, port)
            if (await exchange(address, "GET", "/", seconds=2.0)).complete:
                # Another listener may open a moment later than the first.
                await asyncio.sleep(0.2)
                return address, {port for _, port in service.listening()}
        await asyncio.sleep(0.05)
    raise StartFailed(start.failure("no port answers HTTP"))


def _tail(service: Service) -> str:
    return "\n".join(f"  {line.text[:400]}" for line in service.lines[-20:]) or "  (nothing)"


async def _first_start(found: Inference) -> _Start:
    """Start it with ``{port}`` in place of a port in its command, if it listens there then; else as it is."""
    given = found.manifest
    for command in () if given.movable else with_port(given.start.command):
        found.manifest = replace(given, start=replace(given.start, command=command))
        with contextlib.suppress(StartFailed):
            start = await _Start.listening(found, os.environ, {})
            if start.address.port == start.given["PORT"]:
                return start
            await start.close()
    found.manifest = given
    try:
        return await _Start.listening(found, os.environ, {})
    except StartFailed:
        if not found.custody.stay():
            raise
        return await _Start.listening(found, os.environ, {})


def _add_port(found: Inference, start: _Start) -> None:
    port = start.address.port
    name = next((name for name, number in start.given.items() if number == port), "")
    if any("{port}" in word for word in found.manifest.start.command):
        return
    if name:
        found.add("listen.port_env", name, f"started with {name}={port}, it listened there")
    else:
        found.add("listen.port", port, f"it listened there regardless of {', '.join(_PORTS[:3])}")


def _add_logs(found: Inference, service: Service) -> None:
    lines = [line.text for line in service.lines if line.text.strip()]
    if not lines:
        found.notes.append("it wrote nothing to its streams")
        return
    objects = sum(_is_object(line) for line in lines)
    pairs = sum(len(re.findall(r"\b[\w.]+=", line)) >= 3 for line in lines)
    kind = "json" if objects * 2 > len(lines) else "logfmt" if pairs * 2 > len(lines) else "text"
    found.add("logs.format", kind, f"{objects} of {len(lines)} lines were JSON objects")


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _add_store(found: Inference, start: _Start) -> None:
    service = start.service
    for name, value in service.environment.items():
        kind = kind_of(value) if ":" in value else "tcp"
        place = urlsplit(value) if kind in PORTS else None
        if place is not None and any(remote[1] == place.port for _, remote in service.connections()):
            found.add("database.kind", kind, f"{name} is such a URL, and a connection to its port was open")
            found.add("database.env", name, "it holds the URL that was connected to")
            return
    for _, remote in service.connections():
        if remote[1] in _STORE_PORTS:
            found.add("database.kind", _STORE_PORTS[remote[1]], f"a connection to port {remote[1]} was open")
            found.notes.append(
                "which variable sets the address of the database could not be seen (database.env)"
            )
            return
    for one in service.tree():
        for path in linux.open_files(one.pid).values():
            match = _STORE_FILE.fullmatch(path)
            if match:
                work = start.place.work
                file = os.path.relpath(match[1], work.cwd if work is not None else found.custody.cwd)
                found.add("database.kind", "sqlite", f"it had {Path(match[1]).name} open")
                found.add("database.file", file, "the open file")
                return


async def _add_environment(found: Inference) -> None:
    """Start it with an almost empty environment, and again with each variable that it asks for."""
    environment = {name: os.environ[name] for name in _MINIMAL if name in os.environ}
    more: dict[str, str] = {}
    required: dict[str, str] = {}
    for _ in range(_MOST_ROUNDS):
        try:
            start = await _Start.listening(found, environment, more)
        except StartFailed as failed:
            names = [name for name in _asked_for(str(failed)) if name not in more]
            if not names:
                found.notes.append(
                    "with an empty environment it does not start, and does not name what it misses"
                )
                return
            for name in names:
                required[name] = "with an empty environment it did not start and named it"
                more[name] = os.environ.get(name) or _plausible(name)
            continue
        await start.close()
        break
    if required:
        found.add("env.required", list(required), next(iter(required.values())))
        secret = [name for name in required if SECRET.search(name)]
        if secret:
            found.add("env.secret", secret, "by its name" if len(secret) == 1 else "by their names")
        values = {name: value for name, value in more.items() if name not in os.environ}
        if values:
            found.add("env.set", values, "made up for the check")


def _asked_for(message: str) -> list[str]:
    names = [name.upper() for name in _FIELD.findall(message)]
    for line in message.splitlines():
        if _MISSING.search(line):
            names += _VARIABLE.findall(line)
    return list(dict.fromkeys(name for name in names if name not in (*_PORTS, *_MORE_PORTS)))


def _plausible(name: str) -> str:
    if name.endswith(("_URL", "_URI", "_DSN")):
        return "sqlite:///:memory:" if "DATABASE" in name or "DB" in name else "http://127.0.0.1:9/"
    if name.endswith("_PORT"):
        return "9"
    return f"only-for-the-check-{'0123456789abcdef' * 2}"


async def _confirm_store_variable(found: Inference, folder: Path) -> None:
    """Point DATABASE_URL at a file of ours: where that is opened, the variable is the one."""
    if found.facts.get("database.kind", Fact("", "")).value != "sqlite" or "database.env" in found.facts:
        return
    file = folder / "inferred.db"
    more = {**found.facts.get("env.set", Fact({}, "")).value, "DATABASE_URL": f"sqlite:///{file}"}
    try:
        start = await _Start.listening(found, os.environ, more)
    except StartFailed:
        return
    try:
        if file.exists():
            found.facts.pop("database.file", None)
            found.add("database.env", "DATABASE_URL", "pointed at another file, it opened that one")
            found.add("database.url", "sqlite:///./data.db", "the form that it understood")
    finally:
        await start.close()


def _merged(manifest: Manifest, facts: Mapping[str, Fact]) -> Manifest:
    """Return the manifest with the facts in it."""
    sections: dict[str, dict[str, Any]] = {}
    changes: dict[str, Any] = {"inferred": {place: fact.evidence for place, fact in facts.items()}}
    routes: dict[str, Any] = dict(manifest.routes.by_role)
    for place, fact in facts.items():
        section, _, key = place.partition(".")
        value = tuple(elements(fact.value)) or fact.value
        if section == "routes":
            routes[key] = value
        elif key:
            sections.setdefault(section, {})[key] = value
        else:
            changes[section] = value
    try:
        changes |= {name: replace(getattr(manifest, name), **values) for name, values in sections.items()}
    except TypeError as error:
        raise ManifestError(f"cannot use what was inferred: {error}") from None
    return replace(manifest, routes=Routes(by_role=routes), **changes)
