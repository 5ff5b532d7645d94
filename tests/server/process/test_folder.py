"""The folder of a service: a link that is pointed at a new release is followed, one that is gone is named."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from roadworthy.server.process.folder import Folder
from roadworthy.server.process.listeners import ServeError
from tests.patience import DEADLINE, until

from ..drain import port_of
from ..service import Running, environment, get, running

FLAGS = ("run", "main:app", "--port", "0", "--ops-port", "off", "--drain-delay", "0", "--workers", "2")
APP = """
import os, sys
from roadworthy.settings import load_settings
import beside

async def app(scope, receive, send):
    assert scope["type"] == "http"
    read = {{61: "one", 62: "two"}}[load_settings().keep_alive]
    told = ["{0}", read, beside.RELEASE, os.environ.get("PYTHON_OF"), os.environ["PWD"]]
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": " ".join(map(str, told)).encode()}})
"""
# The release's own Python, as a virtual environment inside of it has one.
PYTHON = '#!/bin/sh\nexport PYTHON_OF={0}\nexec {1} "$@"\n'
START = "import sys; sys.executable = sys.argv.pop(1); from roadworthy.cli import main; main()"


def release(base: Path, name: str) -> Path:
    """Write a release: an app, its `.env`, a module beside it, and an interpreter."""
    made = base / name
    (made / "lib").mkdir(parents=True)
    (made / "main.py").write_text(APP.format(name))
    (made / ".env").write_text(f"ROADWORTHY_KEEP_ALIVE={ {'one': 61, 'two': 62}[name] }\n")
    (made / "lib" / "beside.py").write_text(f"RELEASE = {name!r}\n")
    python = made / "python"
    python.write_text(PYTHON.format(name, sys.executable))
    python.chmod(0o755)
    return made


def point(link: Path, target: Path) -> None:
    """Point the link at a folder, at once."""
    new = link.with_name("new")
    new.symlink_to(target)
    new.replace(link)


def answer(port: int) -> list[str]:
    """Return what the app tells of itself."""
    return get(f"http://127.0.0.1:{port}")[1].decode().split()


def service(current: Path, one: Path) -> tuple[tuple[str, ...], dict[str, str], list[str]]:
    """Return how a service is started in `current`, with all that names the release it is in by then."""
    return (str(one / "python"), *FLAGS), {"PWD": str(current), "PYTHONPATH": str(one / "lib")}, ["-c", START]


@contextmanager
def serving_one_of_two(base: Path) -> Iterator[tuple[Running, Path, Path, Path]]:
    """Serve `current`, a link to the first of two releases; give the process, both releases and the link."""
    one, two, current = release(base, "one"), release(base, "two"), base / "current"
    current.symlink_to(one)
    words, env, program = service(current, one)
    with running(*words, cwd=current, env=env, program=program, place=base) as process:
        yield process, one, two, current


def worker_pids(process: Running) -> list[int]:
    """Return the supervisor's children."""
    children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
    return [int(one) for one in children.read_text().split()]


def test_a_reload_follows_the_link(tmp_path: Path) -> None:
    """After the link and SIGHUP everything is of the new release: code, `.env`, path, interpreter."""
    with serving_one_of_two(tmp_path) as (process, _, two, current):
        port = port_of(process)
        assert answer(port) == ["one", "one", "one", "one", str(current)]
        point(current, two)
        assert answer(port)[0] == "one"
        process.signal(signal.SIGHUP)
        process.record("reloaded")
        assert answer(port) == ["two", "two", "two", "two", str(current)]


def test_a_crashed_worker_comes_back_when_the_old_release_is_gone(tmp_path: Path) -> None:
    """The old folder was removed after the link was changed, and a worker is killed: its successor serves."""
    with serving_one_of_two(tmp_path) as (process, one, two, current):
        port = port_of(process)
        before = worker_pids(process)
        point(current, two)
        shutil.rmtree(one)
        for pid in before:
            os.kill(pid, signal.SIGKILL)

        def replaced() -> bool:
            ready = [each["worker"] for each in process.records if each["message"] == "worker ready"]
            return len(set(ready) - set(before)) == 2

        until(replaced, "both are replaced")
        assert answer(port)[0] == "two"


def test_a_reload_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    """One record names the folder, the old workers serve on, and the next reload works again."""
    with serving_one_of_two(tmp_path) as (process, _, two, current):
        port = port_of(process)
        before = worker_pids(process)
        current.unlink()
        process.signal(signal.SIGHUP)
        process.record(
            f"not reloaded: the folder {current} cannot be entered (No such file or directory); "
            "the old workers serve on"
        )
        assert worker_pids(process) == before
        assert answer(port)[0] == "one"
        current.symlink_to(two)
        process.signal(signal.SIGHUP)
        process.record("reloaded")
        assert answer(port)[0] == "two"


def test_a_worker_that_has_no_folder_waits_for_it(tmp_path: Path) -> None:
    """A worker that ends while the folder is away is replaced once it is back; a record names it."""
    one, current = release(tmp_path, "one"), tmp_path / "current"
    current.symlink_to(one)
    words, env, program = service(current, one)
    with running(*words, cwd=current, env=env, program=program, place=tmp_path) as process:
        port = port_of(process)
        current.unlink()
        victim = worker_pids(process)[0]
        os.kill(victim, signal.SIGKILL)
        process.record(
            f"a worker could not be started: the folder {current} cannot be entered "
            "(No such file or directory)"
        )
        assert answer(port)[0] == "one"
        current.symlink_to(one)
        until(lambda: len(found := worker_pids(process)) == 2 and victim not in found, "it is replaced")


@pytest.mark.parametrize(
    "words", ["run main:app", "run main:app --workers 2", "check main:app", "config main:app"]
)
def test_a_start_in_a_folder_that_is_gone(tmp_path: Path, words: str) -> None:
    """Whichever command it is: one line that says so, exit code 2, and no stack."""
    (tmp_path / "main.py").write_text("async def app(scope, receive, send): ...\n")
    place = tmp_path / "place"
    place.mkdir()
    program = (
        f"import os, sys; os.rmdir({str(place)!r});"
        "os.execv(sys.executable, [sys.executable, '-m', 'roadworthy', *sys.argv[1:]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words.split()],
        cwd=place,
        env=environment({"PYTHONPATH": str(tmp_path)}),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("roadworthy: the current folder is gone:")
    assert done.stderr.count("\n") == 1


def test_which_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`PWD` counts where it names this folder, absolute and without dots; else the kernel's name does."""
    real = (tmp_path / "real").resolve()
    real.mkdir()
    link, other = tmp_path / "link", tmp_path / "other"
    link.symlink_to(real)
    other.mkdir()
    monkeypatch.chdir(real)
    assert Folder.current({"PWD": str(link)}).path == str(link)
    assert Folder.current({"PWD": str(link)}).real == str(real)
    wrong = ("", ".", "real", str(other), str(tmp_path / "nowhere"), f"{tmp_path}/other/../link", f"{link}/.")
    for named in wrong:
        assert Folder.current({"PWD": named}) == Folder(str(real), str(real)), named
    assert Folder.current({}) == Folder(str(real), str(real))


def test_what_follows_the_name() -> None:
    """A path below the folder is given the folder's name; its neighbours and all others stay."""
    folder = Folder("/srv/current", "/srv/releases/1")
    assert folder.follow("/srv/releases/1") == "/srv/current"
    assert folder.follow("/srv/releases/1/.venv/bin/python") == "/srv/current/.venv/bin/python"
    for other in ("/srv/releases/10/x", "/usr/bin/python3", "src", "", "/srv/releases"):
        assert folder.follow(other) == other
    assert Folder("/link", "/").follow("/usr/bin/python3") == "/usr/bin/python3"
    variables = folder.variables({"PYTHONPATH": "/srv/releases/1/src::lib", "A": "b"})
    assert variables == {"PYTHONPATH": "/srv/current/src::lib", "A": "b", "PWD": "/srv/current"}
    assert folder.variables({}) == {"PWD": "/srv/current"}


def test_the_current_folder_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was made anew under the same name is another one, and not entered unasked."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    place.mkdir()
    with pytest.raises(ServeError, match="the current folder is gone"):
        Folder.current({"PWD": str(place)})
