"""Where the folder of several workers is when a place is missing, full, read-only, planted or no folder.

Each case mounts places of its own in a mount namespace, which needs root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import DEADLINE
from tests.server.service import environment, running

SHARE = "from roadworthy.layer.local.group import FolderError, worker_group\n"
FIND = (
    SHARE + "import os\n"
    "try:\n    group = worker_group(4 << 20)\n    again = worker_group(1 << 40)\n"
    "except FolderError as error:\n    print('refused:', error)\n"
    "else:\n"
    "    assert group == again\n"
    "    for one in (group.directory, group.directory.parent):\n"
    "        assert one.lstat().st_mode & 0o777 == 0o700 and one.lstat().st_uid == os.geteuid()\n"
    "    print(group.directory)\n"
)

STATES = {
    "writable": "mount -t tmpfs none {place}",
    "read-only": "mount -t tmpfs -o ro none {place}",
    "small": "mount -t tmpfs -o size=1m none {place}",
    "full": "mount -t tmpfs -o size=8m none {place} && head -c 8m /dev/zero > {place}/x",
    "no more files": "mount -t tmpfs -o nr_inodes=1 none {place}",
    "planted folder": "mount -t tmpfs -o mode=1777 none {place} && install -d -o 65534 {place}/roadworthy-0",
    "planted file": "mount -t tmpfs -o mode=1777 none {place} && touch {place}/roadworthy-0",
    "planted link": "mount -t tmpfs -o mode=1777 none {place} && install -d -m 700 {place}/mine"
    " && ln -s mine {place}/roadworthy-0",
    "dangling link": "mount -t tmpfs -o mode=1777 none {place} && ln -s gone {place}/roadworthy-0",
    "entered by others": "mount -t tmpfs -o mode=1777 none {place} && install -d -m 755 {place}/roadworthy-0",
    "random planted too": "mount -t tmpfs -o mode=1777 none {place} && touch {place}/roadworthy-0"
    " && install -d -m 700 -o 65534 {place}/roadworthy-0-aaaaaaaa",
}
"""State -> the commands that bring a place into it."""
USABLE = {name for name in STATES if "planted" in name or "link" in name} | {"writable", "entered by others"}


def _namespaces() -> bool:
    return shutil.which("unshare") is not None and not subprocess.run(
        ["unshare", "-m", "true"], capture_output=True, check=False
    ).returncode  # fmt: skip


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not _namespaces(),
    reason="mounting places of its own needs root and mount namespaces",
)


ROOT = Path(__file__).parents[2]
ASIDE = Path("/mnt")
"""Where a namespace has the checkout, which may itself stand below a place that is mounted over."""


def inside(mounts: list[str], *command: str) -> list[str]:
    """Return a command line that runs a command after the mounts, in a namespace that ends with it."""
    mounts = [f"mount --bind '{ROOT}' {ASIDE}", f"export PYTHONPATH={ASIDE}/src", *mounts, 'exec "$@"']
    return ["unshare", "-m", "sh", "-ec", " && ".join(mounts), "sh", *map(_aside, command)]


def _aside(word: str) -> str:
    return str(ASIDE / Path(word).relative_to(ROOT)) if word.startswith(f"{ROOT}/") else word


def found(mounts: list[str], **variables: str) -> str:
    """Return the folder of a group, or the refusal."""
    done = subprocess.run(
        inside(mounts, sys.executable, "-c", FIND),
        env=environment({"ROADWORTHY_WORKER_GROUP": "places", **variables}),
        capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _elsewhere(state: str) -> list[str]:
    return [STATES[state].format(place=place) for place in ("/tmp", "/var/tmp")]


@pytest.mark.parametrize("state", sorted(STATES))
def test_each_state_of_the_first_place_has_a_folder_there_or_in_the_next(state: str) -> None:
    """A planted name costs the name only; a place without room is passed over."""
    folder = found([STATES[state].format(place="/dev/shm"), *_elsewhere("writable")])
    place = "/dev/shm" if state in USABLE else "/tmp"
    plain = state == "writable" or state not in USABLE
    assert re.fullmatch(rf"{place}/roadworthy-0{'' if plain else '-[a-z0-9_]+'}/places", folder)
    assert "aaaaaaaa" not in folder


@pytest.mark.parametrize("state", sorted(STATES.keys() - USABLE))
def test_each_state_of_every_place_is_one_message(state: str) -> None:
    """Without any place the refusal has each folder with its cause, the need and the remedy."""
    said = found([STATES[state].format(place="/dev/shm"), *_elsewhere(state)])
    assert said.startswith("refused: several workers share a folder, which needs 4.0 MiB")
    assert all(f"{place} (" in said for place in ("/dev/shm", "/tmp", "/var/tmp"))
    assert "TMPDIR" in said


@pytest.mark.parametrize("name", ["XDG_RUNTIME_DIR", "TMPDIR"])
def test_a_place_that_a_variable_names_stands_in(name: str, tmp_path: Path) -> None:
    """The user's own place comes before the places of everyone; a relative or missing one is passed over."""
    read_only = [STATES["read-only"].format(place="/dev/shm")]
    assert found(read_only, **{name: str(tmp_path)}) == f"{tmp_path}/roadworthy-0/places"
    for wrong in ("relative", str(tmp_path / "missing"), "/dev/null"):
        said = found([*read_only, *_elsewhere("read-only")], **{name: wrong})
        assert said.startswith("refused: ")
        assert wrong == "relative" or f"{wrong} (" in said


def test_the_rate_limit_counts_are_reserved_before_they_are_mapped() -> None:
    """A file system that is full by then is an error with folder and need, never a SIGBUS."""
    code = (
        "import pathlib\nfrom roadworthy.layer.limiter.shared import SharedStore\n"
        "path = pathlib.Path('/dev/shm/limits')\n"
        "try:\n    SharedStore(path, 100_000)\nexcept OSError as error:\n"
        "    print(error.errno, error.strerror, path.stat().st_blocks)\n"
    )
    done = subprocess.run(
        inside([STATES["small"].format(place="/dev/shm")], sys.executable, "-c", code),
        env=environment(), capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("28 No space left on device: the rate limit counts need ")
    assert "MiB in /dev/shm; give it more room, or lower ROADWORTHY_RATE_LIMIT_KEYS 0\n" in done.stdout


def test_two_workers_without_any_place_are_refused_with_two(tmp_path: Path) -> None:
    """`roadworthy run` prints the message and no stack, and ends with 2."""
    (tmp_path / "main.py").write_text("async def app(scope, receive, send): ...\n")
    mounts = [STATES["read-only"].format(place=place) for place in ("/dev/shm", "/var/tmp")]
    mounts.append("mount --bind / / && mount -o remount,bind,ro /")
    done = subprocess.run(
        inside(mounts, sys.executable, "-m", "roadworthy", "run", "main:app", "--workers", "2"),
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("roadworthy: several workers share a folder, which needs ")
    assert "Traceback" not in done.stderr + done.stdout


def test_a_check_without_a_place_for_temporary_files_is_one_message(tmp_path: Path) -> None:
    """`roadworthy check` names the remedy as well."""
    (tmp_path / "main.py").write_text("async def app(scope, receive, send): ...\n")
    mounts = [STATES["read-only"].format(place=place) for place in ("/dev/shm", "/var/tmp")]
    mounts.append("mount --bind / / && mount -o remount,bind,ro /")
    done = subprocess.run(
        inside(mounts, sys.executable, "-m", "roadworthy", "check", "main:app"),
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=DEADLINE, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert "name one that can with TMPDIR" in done.stderr


def test_workers_meet_in_the_second_place(tmp_path: Path) -> None:
    """With a small /dev/shm two workers are served from another folder, which a record names."""
    (tmp_path / "main.py").write_text("async def app(scope, receive, send): ...\n")
    program = ["-c", "import os, sys; os.execvp('unshare', sys.argv[1:])"]
    command = inside(
        [STATES["small"].format(place="/dev/shm")], sys.executable, "-m", "roadworthy", "run", "main:app"
    )
    flags = ("--port", "0", "--ops-port", "off", "--workers", "2")
    with running(*command, *flags, cwd=tmp_path, program=program) as process:
        folder = str(process.record("starting 2 workers")["folder"])
        assert not folder.startswith("/dev/shm")
        process.record("listening")
