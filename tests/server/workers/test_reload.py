"""`--reload`: for development, the service starts again when a source file changes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from roadworthy.server.workers.files import Files
from tests.patience import until

from ..service import Running, get, running

SOURCE = """
from word import WORD

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": WORD})
"""


@contextmanager
def developing(folder: Path) -> Iterator[tuple[Running, str]]:
    """Run the service of this folder, which says "one" at first, and its URL; it ends well on Ctrl+C."""
    flags = ("--port", "0", "--ops-port", "off", "--reload", "--log-format", "json")
    with running("run", "main:app", *flags, cwd=folder) as process:
        url = str(process.record("listening")["url"])
        assert get(url)[1] == b"one"
        yield process, url
        process.signal(signal.SIGINT)
        assert process.exit_code() == 0


def test_a_change_is_served_and_a_mistake_is_survived(tmp_path: Path) -> None:
    """A changed module is served within moments; broken code is told, and mending it is enough."""
    (tmp_path / "main.py").write_text(SOURCE)
    word = tmp_path / "word.py"
    word.write_text("WORD = b'one'")
    with developing(tmp_path) as (process, url):
        word.write_text("WORD = b'second'")
        until(lambda: get(url)[1] == b"second", "the change is served")
        word.write_text("WORD = nonsense(")
        until(lambda: "a worker refused to start" in process.output, "the mistake is told")
        word.write_text("WORD = b'the third'")
        until(lambda: get(url)[1] == b"the third", "the mended code is served")


def test_a_change_of_the_same_size_in_the_same_second_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Python has compiled of a file is not taken for the file that was written over it at once."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    (tmp_path / "main.py").write_text(SOURCE)
    word = tmp_path / "word.py"

    def write(text: str, nanosecond: int) -> None:
        fresh = tmp_path / "word.new"
        fresh.write_text(f"WORD = b'{text}'")
        os.utime(fresh, ns=(10**18 + nanosecond, 10**18 + nanosecond))
        fresh.replace(word)

    write("one", 1)
    with developing(tmp_path) as (_, url):
        write("two", 2)
        until(lambda: get(url)[1] == b"two", "the change is served")


def test_a_change_during_a_reload_is_served(tmp_path: Path) -> None:
    """What is written after a new worker has read the file before it, and before it serves, is not lost."""
    imports = tmp_path / "imports"
    (tmp_path / "main.py").write_text(
        f"import time\n{SOURCE}\nopen({str(imports)!r}, 'a').write('.')\ntime.sleep(1.5)\n"
    )
    word = tmp_path / "word.py"
    word.write_text("WORD = b'one'")
    with developing(tmp_path) as (process, url):
        before = imports.stat().st_size
        process.signal(signal.SIGHUP)
        until(lambda: imports.stat().st_size > before, "a new worker has read the file")
        word.write_text("WORD = b'second'")
        until(lambda: get(url)[1] == b"second", "the change is served")


def test_files_of_others_are_not_watched(tmp_path: Path) -> None:
    """Hidden folders, virtual environments and packages of others do not restart a service."""
    for folder in (".git", "node_modules", "venv", "ours"):
        (tmp_path / folder).mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    files = Files(tmp_path)
    for folder in (".git", "node_modules", "venv"):
        (tmp_path / folder / "new.py").write_text("")
    (tmp_path / "ours" / "page.html").write_text("")
    assert files.changed() == []
    (tmp_path / "ours" / "new.py").write_text("")
    assert files.changed() == [str(tmp_path / "ours" / "new.py")]
    (tmp_path / "ours" / "new.py").unlink()
    assert files.changed() == [str(tmp_path / "ours" / "new.py")]
    assert files.changed() == []
