"""The log writer against real pipes: nothing waits, nothing tears, nothing is lost without being counted."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadworthy.layer.logs.writer import LogWriter
from tests.patience import DEADLINE, until

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe: the end to read from and the end to write to."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def note(lost: int) -> bytes:
    """Say how many lines were lost."""
    return b"dropped %d\n" % lost


def read_until(fd: int, last: bytes) -> bytes:
    """Read until the data ends with ``last``."""
    data = b""
    while not data.endswith(last):
        assert select.select([fd], [], [], 10)[0], "nothing more came"
        data += os.read(fd, 1 << 16)
    return data


def run(script: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        timeout=DEADLINE,
        check=True,
        env={**os.environ, **environment},
    )


def test_lines_arrive_in_order(tmp_path: Path) -> None:
    """What is written comes out whole and in order."""
    lines = [b"line %d\n" % number for number in range(5_000)]
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno())
        for line in lines:
            writer.write(line)
        assert writer.flush()
    assert (tmp_path / "log").read_bytes() == b"".join(lines)
    assert writer.dropped == 0


def test_few_lines_are_written_at_once(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gathering delays no line of a few: whoever watches the log sees it with the response."""
    monkeypatch.setattr("roadworthy.layer.logs.writer._GATHER_SECONDS", 2 * DEADLINE)
    writer = LogWriter(pipe[1])
    for number in range(5):
        writer.write(b"%d\n" % number)
        assert read_until(pipe[0], b"\n") == b"%d\n" % number


def test_many_lines_are_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand lines, one after the other, take some tens of writes."""
    writes, write = list[int](), os.write

    def counted(fd: int, data: bytes) -> int:
        writes.append(len(data))
        return write(fd, data)

    monkeypatch.setattr("os.write", counted)
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno())
        for number in range(1_000):
            writer.write(b"%d\n" % number)
        assert writer.flush()
    assert len(writes) < 200


def test_lines_of_many_threads_arrive(tmp_path: Path) -> None:
    """Lines that several threads write at once all arrive, each whole."""
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno())

        def work(name: int) -> None:
            for number in range(1_000):
                writer.write(b"%d %d\n" % (name, number))

        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.flush()
    found = (tmp_path / "log").read_bytes().splitlines()
    assert sorted(found) == sorted(b"%d %d" % (name, number) for name in range(8) for number in range(1_000))


def test_a_stalled_reader_stops_nobody_and_loses_nothing_uncounted(pipe: Pipe) -> None:
    """A pipe that nobody reads never blocks a writing thread; what did not fit is counted and told later."""
    reading, writing = pipe
    writer = LogWriter(writing, max_lines=1_000, note=note)
    count = 20_000

    def work() -> None:
        for number in range(count):
            writer.write(b"%0200d\n" % number)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "write() waited for the reader"
    assert writer.dropped > 0
    assert writer.waiting <= 1_000

    received: list[bytes] = []

    def read() -> None:
        with os.fdopen(os.dup(reading), "rb") as file:
            received.extend(file)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert writer.flush(10)
    until(lambda: writer.waiting == 0)
    lost = writer.dropped
    os.close(writing)
    reader.join(10)
    lines = [line for line in received if not line.startswith(b"dropped")]
    assert len(lines) + lost == count
    assert sum(int(line.split()[1]) for line in received if line.startswith(b"dropped")) == lost


def test_the_queue_is_bounded_in_bytes(pipe: Pipe) -> None:
    """Few long lines fill the queue as many short ones do."""
    writer = LogWriter(pipe[1], max_bytes=100_000)
    for _ in range(1_000):
        writer.write(b"x" * 3_999 + b"\n")
    assert writer.dropped > 900


def test_flush_gives_up_at_its_deadline(pipe: Pipe) -> None:
    """Flushing towards a stalled reader ends when told and says that it failed."""
    writer = LogWriter(pipe[1])
    for _ in range(1_000):
        writer.write(b"x" * 999 + b"\n")
    assert writer.flush(0.1) is False


def test_a_reader_that_has_gone_is_no_error(pipe: Pipe) -> None:
    """After EPIPE the writer turns itself off, counts, and raises nothing."""
    reading, writing = pipe
    writer = LogWriter(writing, note=note)
    os.close(reading)
    writer.write(b"a\n")
    until(lambda: writer.closed)
    assert writer.dropped == 1
    writer.write(b"b\n")
    assert writer.dropped == 2
    assert writer.flush() is False


def test_a_descriptor_that_is_not_open_is_left_alone() -> None:
    """A process without a standard output drops its lines; the number may soon be some socket's."""
    reading, writing = os.pipe()
    os.close(writing)
    writer = LogWriter(writing)
    os.close(reading)
    writer.write(b"a\n")
    assert writer.closed
    assert writer.dropped == 1


def test_a_full_disk_passes() -> None:
    """ENOSPC costs the lines of that moment and does not end the writing."""
    with open("/dev/full", "wb", buffering=0) as full:
        writer = LogWriter(full.fileno())
        writer.write(b"a\n")
        writer.flush()
        assert writer.dropped == 1
        assert not writer.closed


def test_a_line_torn_by_a_full_disk_does_not_spoil_the_next(tmp_path: Path) -> None:
    """After a write that stopped in the middle of a line, the next line begins on its own."""
    script = f"""
import resource, signal, os
from roadworthy.layer.logs.writer import LogWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
fd = os.open({str(tmp_path / "log")!r}, os.O_WRONLY | os.O_CREAT)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
writer = LogWriter(fd)
writer.write(b"a" * 1500 + b"\\n")
writer.flush()
assert writer.dropped == 1
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
writer.write(b"whole\\n")
assert writer.flush()
"""
    run(script)
    assert (tmp_path / "log").read_bytes() == b"a" * 1_000 + b"\nwhole\n"


def test_a_pipe_made_non_blocking_by_others_loses_nothing(pipe: Pipe) -> None:
    """EAGAIN from a full non-blocking pipe is waited for in the writer's own thread."""
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = LogWriter(writing)
    for number in range(1_000):
        writer.write(b"%0500d\n" % number)
    data = read_until(reading, b"%0500d\n" % 999)
    assert len(data) == 1_000 * 501
    assert writer.dropped == 0


def test_writes_to_a_pipe_hold_whole_lines_of_at_most_pipe_buf(pipe: Pipe) -> None:
    """Each write to a pipe is one that POSIX keeps whole: the pipe in packet mode shows every single one."""
    os.close(pipe[0])
    os.close(pipe[1])
    reading, writing = os.pipe2(os.O_DIRECT) if hasattr(os, "O_DIRECT") else pytest.skip("no packet pipes")
    writer = LogWriter(writing)
    for number in range(300):
        writer.write(b"%0300d\n" % number)
    packets: list[bytes] = []
    while sum(map(len, packets)) < 300 * 301:
        packets.append(os.read(reading, 1 << 20))
    os.close(reading)
    os.close(writing)
    assert all(len(packet) <= 4096 and packet.endswith(b"\n") for packet in packets)
    assert len(packets) < 300


_SHARED = """
import sys, time
from roadworthy.layer.exchange import Exchange
from roadworthy.layer.logging import Logging
from roadworthy.settings import Settings

item = Logging(Settings(_env_file=None, log_format="json"))
for number in range(200):
    exchange = Exchange.of_refusal("")
    exchange.method, exchange.path, exchange.route = "GET", f"/{number}", None
    exchange.status, exchange.bytes_sent, exchange.client = 500, 0, "127.0.0.1"
    exchange.request_id, exchange.trace_id, exchange.error = f"{number:032x}", "", None
    exchange.duration, exchange.logged, exchange.ended = 0.001, False, True
    try:
        raise ValueError("long " * 2_000)
    except ValueError as exception:
        exchange.exception = exception
    item.finish(exchange)
print("queued", file=sys.stderr, flush=True)
sys.stdin.read()
"""


def test_four_processes_on_one_pipe_keep_their_lines_whole(pipe: Pipe) -> None:
    """Records with stacks of 10 kB from four processes on one full pipe: every line is one JSON object."""
    reading, writing = pipe
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _SHARED], stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    # Only a full pipe makes the kernel split writes, so nothing is read until all have more than fits.
    for process in processes:
        assert process.stderr is not None
        assert process.stderr.readline() == b"queued\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    os.close(writing)
    data = b"".join(iter(lambda: os.read(reading, 1_000), b""))
    for process in processes:
        process.communicate(timeout=DEADLINE)
        assert process.returncode == 0
    records = [json.loads(line) for line in data.splitlines()]
    assert len(records) == 800
    assert all(record["exception"]["type"] == "ValueError" for record in records)


def test_what_was_logged_last_is_written_at_exit() -> None:
    """A process that ends right after a line has written it."""
    script = "from roadworthy.layer.logs.writer import LogWriter; LogWriter(1).write(b'last\\n')"
    assert run(script).stdout == b"last\n"


def test_a_stalled_reader_does_not_keep_the_process_from_ending(pipe: Pipe) -> None:
    """A process whose output nobody reads still exits."""
    script = """
from roadworthy.layer.logs.writer import LogWriter
writer = LogWriter(1)
for _ in range(1000):
    writer.write(b"x" * 999 + b"\\n")
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=pipe[1])
    assert process.wait(DEADLINE) == 0


def test_a_forked_child_writes_its_own_lines_and_not_the_parents() -> None:
    """After a fork the child has a thread of its own, and what the parent had queued is written once."""
    script = """
import os, sys
from roadworthy.layer.logs.writer import LogWriter
writer = LogWriter(1)
for number in range(1000):
    writer.write(b"parent %d\\n" % number)
if os.fork() == 0:
    writer.write(b"child\\n")
    writer.flush()
    os._exit(0)
os.wait()
writer.flush()
"""
    lines = run(script, PYTHONWARNINGS="ignore").stdout.splitlines()
    assert sorted(lines) == sorted([b"child", *(b"parent %d" % number for number in range(1_000))])


def test_a_signal_handler_may_write_at_any_moment(tmp_path: Path) -> None:
    """A handler that logs while the same thread is logging neither deadlocks nor loses a line."""
    script = f"""
import os, signal
from roadworthy.layer.logs.writer import LogWriter
fd = os.open({str(tmp_path / "log")!r}, os.O_WRONLY | os.O_CREAT)
writer = LogWriter(fd, max_lines=10**6)
caught = 0
def handle(number, frame):
    global caught
    caught += 1
    writer.write(b"signal\\n")
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for number in range(100_000):
    writer.write(b"main\\n")
signal.setitimer(signal.ITIMER_REAL, 0)
assert writer.flush(10)
print(caught)
"""
    caught = int(run(script).stdout)
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert lines.count(b"main") == 100_000
    assert lines.count(b"signal") == caught
