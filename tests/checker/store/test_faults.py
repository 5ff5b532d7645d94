"""The fault proxy in front of a server, and the watch on an SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from roadworthy.checker.errors import ManifestError
from roadworthy.checker.store.faults import Fault, FaultProxy, NoFault, SqliteFile
from tests.patience import eventually

pytestmark = pytest.mark.anyio

START = struct.pack("!ii", 8, 196_608)
SSL = struct.pack("!ii", 8, 80_877_103)
GSSAPI = struct.pack("!ii", 8, 80_877_104)
CANCEL = struct.pack("!iiii", 16, 80_877_102, 1, 2)
QUERY, TERMINATE = b"Q\0\0\0\rSELECT 1\0", b"X\0\0\0\4"


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio."""
    return "asyncio"


def ready(status: bytes) -> bytes:
    """Return ReadyForQuery."""
    return b"Z\0\0\0\5" + status


@asynccontextmanager
async def proxy(
    kind: str = "tcp", answer: Callable[[bytes], bytes] = lambda data: data
) -> AsyncIterator[FaultProxy]:
    """Run a server that answers each piece that comes, and a proxy in front of it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(answer(data))
                await writer.drain()
        except OSError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await FaultProxy.start(f"{kind}://user:secret@127.0.0.1:{port}/name?a=b", kind)
    try:
        yield found
    finally:
        for client in Client.opened:
            await client.close()
        Client.opened.clear()
        await found.close()
        server.close()


class Client:
    """A connection to the proxy."""

    opened: ClassVar[list[Client]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.opened.append(self)

    @classmethod
    async def connect(cls, found: FaultProxy) -> Client:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", found.port))

    async def ask(self, data: bytes, seconds: float = 5.0) -> bytes:
        """Send bytes and return what comes back; nothing when the connection ends."""
        self.writer.write(data)
        async with asyncio.timeout(seconds):
            try:
                return await self.reader.read(65_536)
            except OSError:
                return b""

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def test_everything_is_passed_on_and_counted() -> None:
    """Opened, living and most connections are counted, and the URL keeps its login, path and query."""
    async with proxy() as found:
        first, second = await Client.connect(found), await Client.connect(found)
        large = bytes(range(256)) * 100
        assert await first.ask(b"hello") == b"hello"
        second.writer.write(large)
        assert await second.reader.readexactly(len(large)) == large
        await first.close()
        await eventually(lambda: found.live == 1)
        assert (found.opens, found.peak, found.to_server) == (2, 2, 5 + len(large))
        assert found.url == f"tcp://user:secret@127.0.0.1:{found.port}/name?a=b"
        await second.close()


async def test_refusing_ends_what_is_open_and_restoring_brings_it_back() -> None:
    """While it refuses nobody listens; afterwards the same address works again."""
    async with proxy() as found:
        client = await Client.connect(found)
        await client.ask(b"a")
        await found.inject(Fault.REFUSE)
        assert await client.ask(b"b") == b""
        with pytest.raises(ConnectionRefusedError):
            await Client.connect(found)
        await found.restore()
        assert await (await Client.connect(found)).ask(b"c") == b"c"


async def test_a_reset_is_felt_once() -> None:
    """Open connections end with RST; new ones work."""
    async with proxy() as found:
        client = await Client.connect(found)
        await client.ask(b"a")
        await found.inject(Fault.RESET)
        with pytest.raises(ConnectionResetError):
            await client.reader.readexactly(1)
        assert found.live == 0
        assert await (await Client.connect(found)).ask(b"b") == b"b"


async def test_a_stall_holds_every_answer_back() -> None:
    """Connections are accepted and silent while it lasts, and nothing is lost."""
    async with proxy() as found:
        old = await Client.connect(found)
        await old.ask(b"a")
        await found.inject(Fault.STALL)
        new = await Client.connect(found)
        for client, data in ((old, b"b"), (new, b"c")):
            with pytest.raises(TimeoutError):
                await client.ask(data, 0.2)
        await found.restore()
        assert (await old.reader.read(1), await new.reader.read(1)) == (b"b", b"c")


async def test_a_black_hole_does_not_even_accept() -> None:
    """A new connection is not established while it lasts; fillers of the queue are no sessions."""
    async with proxy() as found:
        old = await Client.connect(found)
        await old.ask(b"a")
        await found.inject(Fault.BLACK_HOLE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await Client.connect(found)
        with pytest.raises(TimeoutError):
            await old.ask(b"b", 0.2)
        await found.restore()
        assert await old.reader.read(1) == b"b"
        assert await (await Client.connect(found)).ask(b"c") == b"c"
        assert found.opens == 2


async def test_answers_are_held_back_as_long_as_wanted() -> None:
    """A delay makes work at the same time visible, and counts who waits."""
    async with proxy() as found:
        found.delay = lambda: 0.2
        clients = [await Client.connect(found) for _ in range(3)]
        await asyncio.gather(*(client.ask(b"a") for client in clients))
        assert found.busy_peak == 3


async def test_start_up_packets_that_open_no_session_are_not_counted() -> None:
    """SSLRequest, GSSENCRequest and CancelRequest are passed on; only StartupMessage is a session."""
    heard: list[bytes] = []

    def answer(data: bytes) -> bytes:
        heard.append(data)
        return b"N" if data in {SSL, GSSAPI} else ready(b"I")

    async with proxy("postgres", answer) as found:
        cancel = await Client.connect(found)
        await cancel.ask(CANCEL)
        await cancel.close()
        client = await Client.connect(found)
        assert await client.ask(GSSAPI) == b"N"
        assert await client.ask(SSL) == b"N"
        assert found.opens == 0
        await client.ask(START[:3])
        await client.ask(START[3:])
        assert (found.opens, found.live) == (1, 1)
        assert heard == [CANCEL, GSSAPI, SSL, START[:3], START[3:]]


async def test_an_encrypted_session_is_counted_and_nothing_more() -> None:
    """After S the bytes cannot be read, so neither its farewell nor its transaction is guessed."""
    async with proxy("postgres", lambda data: b"S" if data == SSL else data) as found:
        client = await Client.connect(found)
        await client.ask(SSL)
        await eventually(lambda: found.opens == 1)
        await client.ask(b"\x16\x03\x01" + TERMINATE)
        assert found.left_in_transaction(0.0) is None
        await client.close()
        await eventually(lambda: found.live == 0)
        assert (found.farewells, found.dropped) == (0, 0)


@pytest.mark.parametrize(("last", "expected"), [(TERMINATE, (1, 0)), (b"", (0, 1))])
async def test_how_a_session_ends_is_told(last: bytes, expected: tuple[int, int]) -> None:
    """Terminate is a farewell; a connection that is closed without it was dropped."""
    async with proxy("postgres", lambda _: ready(b"I")) as found:
        client = await Client.connect(found)
        await client.ask(START)
        await client.ask(QUERY)
        client.writer.write(last)
        await client.close()
        await eventually(lambda: found.live == 0)
        assert (found.farewells, found.dropped) == expected


async def test_mysql_says_goodbye_with_a_packet() -> None:
    """COM_QUIT as the last packet is a farewell."""
    async with proxy("mysql") as found:
        for last in (b"\x01\x00\x00\x00\x01", b"\x09\x00\x00\x00\x03SELECT 1"):
            client = await Client.connect(found)
            await client.ask(b"login")
            client.writer.write(last)
            await client.close()
        await eventually(lambda: found.opens == 2 and found.live == 0)
        assert (found.farewells, found.dropped) == (1, 1)


async def test_a_session_that_idles_in_a_transaction_is_seen() -> None:
    """The last ReadyForQuery tells, cut into pieces or not; a session that is at work does not idle."""
    statuses = iter([b"I", b"T", b"E", b"I"])
    async with proxy("postgres", lambda _: ready(next(statuses))) as found:
        client = await Client.connect(found)
        await client.ask(START)
        seen = [found.left_in_transaction(0.0)]
        for _ in range(3):
            await client.ask(QUERY)
            seen.append(found.left_in_transaction(0.0))
        assert seen == [0, 1, 1, 0]
        await found.inject(Fault.STALL)
        client.writer.write(QUERY)
        await eventually(lambda: found.to_server == len(START) + 4 * len(QUERY))
        assert found.left_in_transaction(0.0) == 0


async def test_messages_are_told_apart_however_they_are_cut() -> None:
    """Rows that look like messages are skipped, and a message that comes byte by byte is one message."""
    row = b"D\0\0\0\x0f" + ready(b"T") + b"abcde"
    answers = iter([ready(b"I"), row, *[bytes([byte]) for byte in ready(b"E")]])
    async with proxy("postgres", lambda _: next(answers)) as found:
        client = await Client.connect(found)
        await client.ask(START)
        await client.ask(QUERY)
        assert found.left_in_transaction(0.0) == 0
        for byte in QUERY[:6]:
            await client.ask(bytes([byte]))
        assert found.left_in_transaction(0.0) == 1


async def test_a_commit_can_be_cut() -> None:
    """The connection ends at the commit, which never reaches the server."""
    heard: list[bytes] = []
    async with proxy("tcp", lambda data: heard.append(data) or data) as found:  # type: ignore[func-returns-value]
        client = await Client.connect(found)
        await client.ask(b"BEGIN")
        await found.inject(Fault.COMMIT)
        assert await client.ask(b"COMMIT") == b""
        assert heard == [b"BEGIN"]
        assert found.commits_cut == 1


def message(kind: bytes, payload: bytes) -> bytes:
    """Return a message of the client: its type, its length, and what it says."""
    return kind + (4 + len(payload)).to_bytes(4, "big") + payload


COMMITS = {
    "a query": [message(b"Q", b"COMMIT;\0")],
    "behind another statement": [message(b"Q", b"UPDATE a SET b = 1; commit\0")],
    "with a comment": [message(b"Q", b"/* traced */ COMMIT\0")],
    "parsed and bound at once": [message(b"P", b"\0COMMIT\0\0\0") + message(b"B", b"\0\0\0\0\0\0\0\0")],
    "prepared before": [message(b"P", b"S_1\0COMMIT\0\0\0"), message(b"B", b"\0S_1\0\0\0\0\0\0\0")],
}


@pytest.mark.parametrize("parts", COMMITS.values(), ids=COMMITS)
async def test_a_commit_of_postgresql_is_cut_in_each_of_its_forms(parts: list[bytes]) -> None:
    """What carries a COMMIT out ends the connection; what only prepares one is passed on."""
    async with proxy("postgres", lambda _: ready(b"T")) as found:
        client = await Client.connect(found)
        await client.ask(START)
        await found.inject(Fault.COMMIT)
        for part in parts[:-1]:
            assert await client.ask(part) == ready(b"T")
        assert await client.ask(parts[-1]) == b""
        assert found.commits_cut == 1


@pytest.mark.parametrize(
    "part",
    [
        message(b"Q", b"INSERT INTO notes VALUES ('a commit')\0"),
        message(b"Q", b"SELECT commit_count FROM builds\0"),
        message(b"P", b"\0INSERT INTO notes VALUES ($1)\0\0\0") + message(b"B", b"\0\0\0\0\0\0\0\6commit"),
        message(b"P", b"S_1\0COMMIT\0\0\0")
        + message(b"P", b"S_1\0SELECT 1\0\0\0")
        + message(b"B", b"\0S_1\0"),
    ],
)
async def test_the_word_in_data_is_no_commit(part: bytes) -> None:
    """A text, a column or a statement that has another meaning by now is passed on."""
    async with proxy("postgres", lambda _: ready(b"T")) as found:
        client = await Client.connect(found)
        await client.ask(START)
        await found.inject(Fault.COMMIT)
        assert await client.ask(part) == ready(b"T")
        assert found.commits_cut == 0


@pytest.mark.parametrize("url", ["", "postgresql:///name?host=/run/postgresql", "host=/run dbname=a"])
async def test_a_url_without_a_port_to_stand_before_is_refused(url: str) -> None:
    """A Unix socket bypasses TCP: the message says so instead of counting nothing."""
    with pytest.raises(ManifestError, match="Unix socket"):
        await FaultProxy.start(url, "postgres")


async def test_an_sqlite_file_is_watched(tmp_path: Path) -> None:
    """Opening and changing are counted by inotify, the journal mode is read from the header."""
    file = tmp_path / "data.db"
    store = SqliteFile(f"sqlite:///{file}", file)
    try:
        for number in range(3):
            connection = sqlite3.connect(file)
            connection.execute(f"CREATE TABLE t{number} (a)")
            connection.commit()
            connection.close()
        await eventually(lambda: store.opens == 3 and store.to_server > 0)
        assert store.journal == "rollback"
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO t0 VALUES (1)")
        connection.commit()
        assert (store.journal, store.leftovers) == ("WAL", ["data.db-wal"])
        connection.close()
        assert store.leftovers == []
    finally:
        await store.close()


async def test_who_keeps_the_write_lock_is_in_a_transaction(tmp_path: Path) -> None:
    """A stall holds the lock, and a lock that somebody else holds is told."""
    file = tmp_path / "data.db"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("CREATE TABLE t (a)")
    store = SqliteFile(f"sqlite:///{file}", file)
    try:
        await store.inject(Fault.STALL)
        other.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("INSERT INTO t VALUES (1)")
        await store.restore()
        assert store.left_in_transaction(0.0) == 0
        other.execute("BEGIN IMMEDIATE")
        assert store.left_in_transaction(0.0) == 1
        other.execute("ROLLBACK")
        with pytest.raises(NoFault):
            await store.inject(Fault.REFUSE)
    finally:
        await store.close()
        other.close()
