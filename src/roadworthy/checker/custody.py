"""What the check puts in place of a service's data, and whether it may write where it can put nothing.

Each start gets databases and files of its own in place of those that the manifest declares. Where that cannot
be, nothing is written unless ``--allow-writes`` permits it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .errors import StartFailed, Untried
from .manifest.model import Manifest
from .manifest.variables import default_of, expand, store_url
from .service.folder import DataFiles, Workplace, guessed_data, sqlite_file
from .service.process import Service
from .store.kinds import PORTS, USUAL_PORTS, kind_of
from .store.own import CannotOwn, Lease, OwnServer, OwnStores
from .store.own_mysql import OwnMysql
from .store.own_postgres import OwnPostgres
from .store.own_redis import OwnRedis

__all__ = ("Custody", "Place")

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that ask for no change (RFC 9110 §9.2.1)."""
_UNSAFE = re.compile(rb"^(POST|PUT|PATCH|DELETE) \S+ HTTP/1", re.MULTILINE)
_MAKERS: Mapping[str, Callable[[str, str], OwnServer]] = {
    "postgres": OwnPostgres,
    "mysql": OwnMysql,
    "redis": OwnRedis,
}
_INHERITED = ("DATABASE_URL", "REDIS_URL")
"""Variables that lead a service to a store by custom, whether its manifest names them or not."""
_STANDBY = re.compile(r"REPLICA|STANDBY|READ_?ONLY|READER")
_MOST_CREATED = 100_000


@dataclass(frozen=True, slots=True)
class Place:
    """What one start has of its own, besides the store that faults are injected into.

    Parameters:
        work: its working folder; None where it works in the real one.
        urls: the URLs of its other stores, by those that they stand for.
        without: inherited variables that lead to standbys of a declared store: they do not follow its copy.
    """

    work: Workplace | None = None
    urls: Mapping[str, str] = field(default_factory=dict[str, str])
    without: frozenset[str] = frozenset()
    leases: tuple[Lease, ...] = ()

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the variables with what leads to the service's data leading to the copies."""
        found = {
            name: self.urls.get(value, value) for name, value in variables.items() if name not in self.without
        }
        if self.work is not None:
            found = {name: self.work.word(value) for name, value in found.items()}
            if "PWD" in found:
                found["PWD"] = str(self.work.cwd)
        return found

    async def release(self) -> None:
        """Remove what was made on servers."""
        for lease in self.leases:
            await lease.release()


@dataclass(slots=True, eq=False)
class Custody:
    """What a run does with the service's data.

    Parameters:
        folder: for the copies of files.
        marker: of the run.
        allow_writes: write also where the check has nothing of its own to write to.
        notice: receives what has to be reported when it turns out.
        why: why there is nothing of its own to write to; empty while there is.
        created: the ids of what was created where it may stay.
        removing: what is sent now removes what the check has created.
    """

    manifest: Manifest
    folder: Path
    marker: str
    allow_writes: bool = False
    notice: Callable[[str], None] = lambda _: None
    why: str = ""
    stores: OwnStores = field(default_factory=OwnStores)
    files: DataFiles | None = None
    created: dict[str, None] = field(default_factory=dict[str, None])
    removing: bool = False
    _looked: bool = False
    _started: bool = False

    @property
    def cwd(self) -> Path:
        """The service's real working folder."""
        return self.manifest.folder / self.manifest.start.cwd

    @property
    def guessed(self) -> bool:
        """Whether nothing is declared about the service's data, so that only looking shows where it is."""
        return not self.manifest.database.kind and not self.manifest.start.data

    async def prepare(self) -> None:
        """Make ready what each start gets a copy of.

        Raises:
            ManifestError: the manifest refers to a variable that is not set.
        """
        if not self.manifest.startable:
            self.why = "the service runs already, with its own data"
            return
        self.why = self._undeclared()
        declared, further = self._urls()
        makers = {
            url: maker(url, self.marker)
            for url in {*declared.values(), *further}
            if (maker := _MAKERS.get(kind_of(url))) is not None
        }
        await self.stores.prepare(makers)
        for name, url in declared.items():
            if url not in self.stores.servers:
                reason = self.stores.refused.get(url, f"the check makes none for {kind_of(url)}")
                self.why = self.why or f"there is no store of the check's own behind {name}: {reason}"
        self._prepare_files()

    def _undeclared(self) -> str:
        """Return why the declared kind of store lets the check have none of its own."""
        database = self.manifest.database
        if database.kind == "tcp":
            return "the store is of a kind (tcp) of which the check cannot make one of its own"
        if database.kind in PORTS and not database.env:
            return (
                f"no variable leads the service to a store of the check's own ({database.kind}, database.env)"
            )
        return ""

    def _urls(self) -> tuple[dict[str, str], set[str]]:
        """Return the URLs of servers: those that declared variables hold, and those used besides."""
        check, env, database = self.manifest.check, self.manifest.env, self.manifest.database
        layers = (env.set, check.env, check.rate_limit.env, check.shutdown.env)
        named = {name: os.environ.get(name, "") for name in (*env.required, *env.secret, *env.optional)}
        named |= {name: expand(value) for layer in layers for name, value in layer.items()}
        if database.env and database.kind not in {"", "none"}:
            named[database.env] = store_url(self.manifest)
        inherited = () if database.kind == "none" else _INHERITED
        further = {os.environ.get(name, "") for name in inherited if name not in named}
        further |= {expand(url) for url in database.also}
        return {name: url for name, url in named.items() if _is_server(url)}, set(filter(_is_server, further))

    def _prepare_files(self) -> None:
        """Copy the files that hold data, and refuse where no start can be led to the copies."""
        database, cwd = self.manifest.database, self.cwd
        data = [cwd / path for path in self.manifest.start.data]
        left_out: list[Path] = []
        urls = (default_of(database.url), *map(expand, database.also))
        if database.kind == "sqlite":
            urls = (*urls, store_url(self.manifest))
        for url in urls:
            if kind_of(url) == "sqlite" or (database.kind == "sqlite" and "://" not in url):
                file = sqlite_file(url, cwd)
                left_out += [file] if file is not None else []
        if database.file and not database.env:
            data.append(cwd / database.file)
        if self.guessed:
            data += guessed_data(cwd)
        files = DataFiles(cwd, data, left_out, always=self.guessed)
        if not files:
            return
        try:
            files.prepare(self.folder / "data")
        except OSError as error:
            self.why = self.why or f"the service's data cannot be copied ({error.strerror})"
            return
        self.files = files

    # One start

    def stay(self) -> bool:
        """Let a service work in its real folder that does not start in another; False: it does already."""
        if self._started or not self.guessed or not self.files:
            return False
        self.files.stay()
        return True

    async def place(self, variables: Mapping[str, str], folder: Path, cwd: Path | None) -> Place:
        """Make what one start gets of its own.

        Parameters:
            variables: of its environment.
            folder: of this start.
            cwd: a working folder that a probe has made of links, instead of the service's own.

        Raises:
            StartFailed: a database cannot be made any more.
        """
        main = store_url(self.manifest, variables)
        leases: dict[str, Lease] = {}
        for url in dict.fromkeys(variables.values()):
            if url != main and (lease := await self._made(url)) is not None:
                leases[url] = lease
        work = None
        if self.files and (cwd is None or cwd.is_relative_to(self.folder)):
            make = self.files.adopt if cwd is not None else self.files.make
            work = await asyncio.to_thread(make, cwd or folder / "work")
        return Place(
            work,
            {url: lease.url for url, lease in leases.items()},
            _standbys(variables) if main in self.stores.servers else frozenset(),
            tuple(leases.values()),
        )

    async def lease(self, url: str, *, further: bool = False) -> Lease | None:
        """Make the store that faults are injected into; None where the declared one is used.

        Parameters:
            further: it is a store of ``database.also``.

        Raises:
            Untried: a further store may not be written to.
            StartFailed: a database could be made when the check began, and cannot any more.
        """
        lease = await self._made(url)
        if lease is None and further and not self.allow_writes and _is_server(url):
            reason = self.stores.refused.get(url, f"the check makes none for {kind_of(url)}")
            raise Untried(f"nothing is written to a store of database.also without --allow-writes: {reason}")
        return lease

    async def _made(self, url: str) -> Lease | None:
        try:
            return await self.stores.lease(url)
        except CannotOwn as reason:
            raise StartFailed(f"no database of the check's own can be made any more: {reason}") from None

    # Whether to write

    @property
    def writes(self) -> bool:
        """Whether the check may write."""
        return self.allow_writes or not self.why

    def forbid(self, why: str) -> None:
        """Write no more from now on, unless it is permitted anyhow."""
        if not self.why:
            self.why = why
            self.notice(f"{why}: {_AFTERWARDS[self.allow_writes]}")

    def require(self, method: str) -> None:
        """Let a request pass that may be sent.

        Raises:
            Untried: it may change data that is not the check's own.
        """
        if method.upper() in _SAFE or self.removing:
            return
        if self.files is not None and not self.why and (name := self.files.changed):
            self.forbid(f"the service writes {name} in its own folder, which the check cannot keep it from")
        if not self.writes:
            raise Untried(self.untried)

    def may_write(self) -> bool:
        """Return whether a request that may change data may be sent now."""
        try:
            self.require("POST")
        except Untried:
            return False
        return True

    def require_bytes(self, data: bytes) -> None:
        """Let bytes pass that are sent on a connection, as :meth:`require` does."""
        if found := _UNSAFE.search(data):
            self.require(found[1].decode())

    @property
    def untried(self) -> str:
        """Why a request is not sent."""
        return f"nothing is written without --allow-writes: {self.why}"

    @property
    def limit(self) -> str:
        """What a report says about it at its beginning; empty when all that is written is the check's own."""
        if not self.why:
            return ""
        return f"{self.why}: {_AFTERWARDS[self.allow_writes]}"

    # What was created

    def remember(self, identifier: str) -> None:
        """Remember what was created, in case it is in a store that stays."""
        if identifier and (self.why or self.guessed) and len(self.created) < _MOST_CREATED:
            self.created[identifier] = None

    def look_once(self, service: Service, place: Place) -> None:
        """Look at the first service that has written: some open their store no sooner."""
        if not self._looked:
            self._looked = True
            self.look(service, place)

    def look_first(self, service: Service, place: Place) -> None:
        """Look at the first service that is ready: whether it works with other data than it was given."""
        self._started = True
        if self.files is not None and not self.guessed and not self.why and (name := self.files.opened):
            self.forbid(
                f"the service opens {name} in its own folder, not the copy in the one that it was given"
            )
        self.look(service, place)

    def look(self, service: Service, place: Place) -> None:
        """Look at what a service is connected to."""
        if self.manifest.database.kind == "none" or self.why:
            return
        given = {urlsplit(url).port or PORTS[kind_of(url)] for url in place.urls.values()}
        for _, (_, port) in service.connections():
            if port in USUAL_PORTS and port not in given:
                store = f"{USUAL_PORTS[port]} (port {port})"
                self.forbid(
                    f"the service is connected to {store}, and no declared variable leads it to a store"
                )
                return

    async def close(self) -> None:
        """Remove everything that was made."""
        if self.files is not None:
            self.files.close()
        await self.stores.close()


_AFTERWARDS = {
    False: "nothing is written, so what creates, changes or deletes is not tried (--allow-writes tries it)",
    True: "--allow-writes, so the check writes there, and deletes what it created through routes.delete",
}


def _is_server(url: str) -> bool:
    return "://" in url and kind_of(url) in PORTS


def _standbys(variables: Mapping[str, str]) -> frozenset[str]:
    """Return the names of inherited variables that lead to standbys; what a manifest sets stays."""
    return frozenset(
        name
        for name, value in variables.items()
        if _STANDBY.search(name) and os.environ.get(name) == value and any(map(_is_server, value.split(",")))
    )
