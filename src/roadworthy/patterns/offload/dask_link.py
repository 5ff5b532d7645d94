"""The connection to a Dask scheduler.

Dask's client runs on a loop and a thread of its own: what it serializes and what its tasks leave behind is no
concern of the loop that serves. A connection that is lost takes the pieces that were sent with it; another is
made for as long as the pool is open.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from .job import AwayError, Job, name_of
from .travel import RemoteError, WorkerCrashedError, conclude, unpack, write_record

if TYPE_CHECKING:
    from ...settings import Settings

__all__ = ("Link", "Listener", "Piece")

_EVERY = 2.0
"""Seconds between two looks at the scheduler: whether it answers, and how many threads its workers have. When
one joins or leaves, the link looks at once."""
_GLANCE = 0.1
"""Seconds between two looks at the connection."""
_PATIENCE = 5.0
"""Seconds without an answer after which it counts as lost."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between attempts at a connection: doubled each time. Service is back 2 s after the scheduler."""
_FAREWELL = 0.8
"""Seconds for Dask's client to take leave."""
_EVERYTHING = "all"
"""Topic of the scheduler's events about all its workers and clients."""

_log = logging.getLogger("roadworthy.offload")


class Listener(Protocol):
    """Who hears of the connection and of pieces."""

    def tell(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have the loop that serves call something; from the link's thread."""

    def found(self, threads: int) -> None:
        """The scheduler answers, and its workers have that many threads."""

    def lost(self, why: str) -> None:
        """There is no connection."""

    def settled(self, piece: Piece, end: Callable[[Job], None] | None) -> None:
        """A piece has ended, or was taken back: there is no ``end`` then."""


class Piece:
    """One job on its way; it changes in the link's thread."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.key = f"{name_of(job.function)}-{uuid4()}"
        self.payload, job.payload = job.payload, b""
        self.changed = asyncio.Event()
        self.left = False
        self.suspect = False

    def leave(self) -> None:
        """Nobody waits for it any more."""
        self.left = True
        self.changed.set()

    def doubt(self) -> None:
        """The worker that had it is lost."""
        self.suspect = True
        self.changed.set()


class _Permit(Protocol):
    """The queue with the permit of a piece; see :mod:`roadworthy.patterns.offload.dask_worker`."""

    async def put(self, value: object) -> None: ...

    async def get(self, *, batch: bool) -> list[Any]: ...

    async def qsize(self) -> int: ...

    def close(self) -> None: ...


class Link:
    """The connection to the scheduler, on a thread of its own."""

    def __init__(self, settings: Settings, listener: Listener) -> None:
        scheme, _, place = (settings.offload or "").partition("://")
        self._address = f"{'tls' if scheme == 'tls' else 'tcp'}://{place}"
        self._certificates = settings.offload_tls_ca, settings.offload_tls_cert, settings.offload_tls_key
        self._patience = settings.pool_timeout
        self._listener = listener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing, self._changed = asyncio.Event(), asyncio.Event()
        self._ended: asyncio.Future[None] | None = None
        self._client: Any = None
        self._dask: Any = None
        self._pieces: dict[str, tuple[Piece, asyncio.Task[None]]] = {}

    def start(self) -> None:
        """Start the thread."""
        self._ended = asyncio.get_running_loop().create_future()
        # As a daemon: a service that ends does not wait for a cluster that does not answer.
        threading.Thread(target=self._run, name="roadworthy-dask", daemon=True).start()

    async def close(self) -> None:
        """End the connection and the thread, and wait for it."""
        if self._ended is not None:
            self.call(self._closing.set)
            await self._ended

    def call(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have the thread's loop call something."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(call, *arguments)

    def begin(self, piece: Piece) -> None:
        """Send a piece; in the thread."""
        self._pieces[piece.key] = piece, asyncio.ensure_future(self._carry_out(piece))

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                self._loop.set_exception_handler(_note)
                runner.run(self._serve())
        except BaseException as error:
            self._listener.tell(
                self._listener.lost, f"the thread of Dask's client ended ({type(error).__name__})"
            )
            raise
        finally:
            self._listener.tell(self._say_ended)

    def _say_ended(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def _serve(self) -> None:
        keeping = asyncio.ensure_future(self._keep_connected())
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait((keeping, closing), return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping

    async def _keep_connected(self) -> None:
        pause = 0.0
        while True:
            try:
                client = await self._connect()
            except Exception as error:
                self._listener.tell(self._listener.lost, self._reason(error))
                pause = min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
                await asyncio.sleep(pause)
                continue
            pause = 0.0
            try:
                why = await self._watch(client)
                self._listener.tell(self._listener.lost, why)
            finally:
                self._client = None
                await self._drop_pieces()
                await _leave(client)

    async def _drop_pieces(self) -> None:
        for _, task in tuple(self._pieces.values()):
            task.cancel()
        await asyncio.gather(*(task for _, task in self._pieces.values()), return_exceptions=True)
        for piece, _ in tuple(self._pieces.values()):  # those that had not taken their first step
            self._settle(piece, _failing(_away()))

    def _reason(self, error: Exception) -> str:
        if isinstance(error, _MismatchError):
            return str(error)
        return f"the Dask scheduler at {self._address} does not answer ({type(error).__name__})"

    async def _connect(self) -> Any:
        dask = self._dask = _import()
        ca, cert, key = self._certificates
        security = dask.Security(
            tls_ca_file=ca,
            tls_client_cert=cert,
            tls_client_key=key or cert,
            require_encryption=self._address.startswith("tls:"),
        )
        client = dask.Client(
            self._address,
            name="roadworthy",
            timeout=self._patience,
            security=security,
            set_as_default=False,
            asynchronous=True,
            direct_to_workers=False,
        )
        try:
            await client
            with suppress(TimeoutError):  # a worker that hangs keeps nobody from the others
                async with asyncio.timeout(self._patience):
                    await _compare(client)
            client.subscribe_topic(client.id, self._event)
            client.subscribe_topic(_EVERYTHING, self._cluster_event)
        except BaseException:
            await _leave(client)
            raise
        return client

    async def _watch(self, client: Any) -> str:
        """Return why the connection is lost, when it is."""
        stream = client.scheduler_comm
        known: int | None = None
        while True:
            looking = asyncio.ensure_future(self._threads(client, 0.0 if known is None else _EVERY))
            try:
                while not looking.done():
                    await asyncio.wait((looking,), timeout=_GLANCE)
                    # Dask's client dials again by itself; on the other side nothing is known then.
                    if client.status != "running" or client.scheduler_comm is not stream or stream.closed():
                        return f"the Dask scheduler at {self._address} is lost"
                threads = looking.result()
            except Exception as error:
                return f"the Dask scheduler at {self._address} is lost ({type(error).__name__})"
            finally:
                looking.cancel()
            self._client = client
            if threads != known:
                known = threads
                self._listener.tell(self._listener.found, threads)

    async def _threads(self, client: Any, pause: float) -> int:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._changed.wait()
        self._changed.clear()
        async with asyncio.timeout(_PATIENCE):
            identity = await client.scheduler.identity(n_workers=0)
        threads: int = identity["total_threads"]
        return threads

    async def _carry_out(self, piece: Piece) -> None:
        name = name_of(piece.job.function)
        end: Callable[[Job], None] | None
        try:
            message = await self._done(piece)
            end = None if message is None else partial(conclude, message=unpack(message))
        except WorkerCrashedError:
            text = f"a worker of the cluster was lost while it ran {name}"
            end = _failing(WorkerCrashedError(text))
        except (_LostError, OSError, asyncio.CancelledError):
            end = _failing(_away())
        except Exception as error:
            failure = RemoteError(f"the cluster could not run {name} ({type(error).__name__})")
            failure.__cause__ = error
            end = _failing(failure)
        self._settle(piece, end)

    def _settle(self, piece: Piece, end: Callable[[Job], None] | None) -> None:
        del self._pieces[piece.key]
        self._listener.tell(self._listener.settled, piece, end)

    async def _done(self, piece: Piece) -> bytes | None:
        """Return the message about the end of a piece, None when it was taken back before it began."""
        from .dask_worker import perform

        client = self._client
        if client is None:
            raise _LostError
        permit: _Permit = await self._dask.Queue(piece.key, client=client, maxsize=1)
        try:
            await permit.put(True)
            if piece.left:
                return None
            level = logging.getLogger().getEffectiveLevel()
            future = client.submit(
                perform, piece.key, client.id, level, piece.payload, key=piece.key, pure=False
            )
            piece.payload = b""
            try:
                return await self._result(piece, permit, future)
            finally:
                future.release()
        finally:
            permit.close()

    async def _result(self, piece: Piece, permit: _Permit, future: Any) -> bytes | None:
        result = asyncio.ensure_future(_message(future))
        try:
            while not result.done():
                changed = asyncio.ensure_future(piece.changed.wait())
                await asyncio.wait((result, changed), return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if result.done():
                    break
                piece.changed.clear()
                if piece.suspect:
                    piece.suspect = False
                    if not await permit.qsize():
                        raise WorkerCrashedError
                if piece.left and await permit.get(batch=True):
                    return None
            message: bytes = result.result()
        finally:
            result.cancel()
        if not message:  # Dask had another worker run it again, which got no permit
            raise WorkerCrashedError
        return message

    def _event(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take a record of the work."""
        message = event[1]
        if "roadworthy" not in message:
            return  # the scheduler's own, about this client
        found = self._pieces.get(message["roadworthy"])
        kind, fields = unpack(message["message"])[:2]
        if kind == "record":
            self._listener.tell(write_record, found and found[0].job, fields)

    def _cluster_event(self, event: tuple[float, dict[str, Any]]) -> None:
        """Count the workers again when one joins or leaves, and doubt what one had that left."""
        message = event[1]
        if message.get("action") not in ("add-worker", "remove-worker"):
            return
        self._changed.set()
        for keys in ("processing-tasks", "lost-computed-tasks"):
            for key in message.get(keys, ()):
                if key in self._pieces:
                    self._pieces[key][0].doubt()


class _LostError(Exception):
    """Dask has cancelled a piece: the scheduler was lost, or somebody restarted the cluster."""


class _MismatchError(Exception):
    """The scheduler or a worker runs what does not fit to what runs here."""


async def _message(future: Any) -> bytes:
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        message: bytes = await future.result()
    except KilledWorker:
        raise WorkerCrashedError from None
    except CancelledError:
        raise _LostError from None
    return message


def _away() -> AwayError:
    # Without Retry-After: it may have been done.
    return AwayError("The cluster was lost while it did the work", retry_after=None)


def _failing(error: Exception) -> Callable[[Job], None]:
    return lambda job: job.fail(error)


async def _compare(client: Any) -> None:
    """Refuse a scheduler or a worker of another Python or another Dask, whose messages would not be read.

    Raises:
        _MismatchError: names the place, the package and both versions.
    """
    found = await client.get_versions(check=False)
    places = {"scheduler": found["scheduler"], **found["workers"]}
    for package in ("python", "distributed"):
        here = _version(found["client"], package)
        for place, versions in places.items():
            there = _version(versions, package)
            if there != here:
                raise _MismatchError(
                    f"{package} is {here} here and {there} in the Dask cluster ({place}); run the scheduler "
                    "and the workers in the environment of the service"
                )


def _version(versions: dict[str, Any], package: str) -> str:
    found = str(versions["packages"].get(package))
    # Python's changes of the third place do not touch what travels.
    return ".".join(found.split(".")[:2]) if package == "python" else found


async def _leave(client: Any) -> None:
    for topic in (client.id, _EVERYTHING):
        with suppress(Exception):  # it has not come so far
            client.unsubscribe_topic(topic)
    with suppress(Exception):
        async with asyncio.timeout(_FAREWELL):
            await client.close()


def _import() -> Any:
    """Import Dask as a guest: its records go the way of all others, and it has no opinion on what is sent."""
    from dask import config

    # Its client reports with stacks that it dials again; the link says that in a line.
    levels = {"distributed": {"level": "WARNING"}, "distributed.client": {"level": "CRITICAL"}}
    with config.set({"logging": {"version": 1, "incremental": True, "loggers": levels}}):
        import distributed
    config.set({"distributed.admin.large-graph-warning-threshold": "1 PiB"})
    return distributed


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Note what a task of Dask's client leaves behind; it says more in records of its own."""
    _log.debug("Dask's client: %s", context.get("message"))
