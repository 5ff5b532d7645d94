"""What tests have computed in worker processes: functions of a module, as a service's are."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from roadworthy import NotFoundError, ValidationError
from roadworthy.errors import FieldError

__all__: tuple[str, ...] = ()


def square(number: int, *, plus: int = 0) -> int:
    """Return a number's square."""
    return number * number + plus


def pid() -> int:
    """Return who computes."""
    return os.getpid()


def niceness() -> int:
    """Return how far this process stands back."""
    return os.nice(0)


def spin(seconds: float = 3600.0) -> str:
    """Hold a core."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return "done"


def note_and_spin(file: str) -> None:
    """Say who computes, and never end."""
    Path(f"{file}.new").write_text(str(os.getpid()))
    os.rename(f"{file}.new", file)
    spin()


def hold_the_lock(file: str) -> None:
    """Never end, in C code that does not release the interpreter's lock."""
    Path(f"{file}.new").write_text(str(os.getpid()))
    os.rename(f"{file}.new", file)
    ctypes.PyDLL(None).sleep(3600)


def with_child(file: str) -> None:
    """Start a process of its own and never end."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    Path(f"{file}.new").write_text(str(child.pid))
    os.rename(f"{file}.new", file)
    spin()


def wait_for(file: str) -> str:
    """Return when there is a file."""
    while not Path(file).exists():
        time.sleep(0.005)
    return "seen"


def note_and_wait(file: str, go: str) -> str:
    """Say who computes, and return when there is another file."""
    Path(f"{file}.new").write_text(str(os.getpid()))
    os.rename(f"{file}.new", file)
    return wait_for(go)


def meet(mine: str, other: str) -> str:
    """Say that this piece has begun, and return when another has."""
    Path(mine).touch()
    return wait_for(other)


def count_and_die(file: str, survive: int = 1_000) -> str:
    """Note that this has begun, and end this process, unless it has begun that often."""
    with Path(file).open("a") as notes:
        notes.write("begun\n")
    if Path(file).read_text().count("begun") < survive:
        die()
    return "done"


def count_and_wait(file: str, go: str) -> str:
    """Note that this has begun, and return when there is another file."""
    with Path(file).open("a") as notes:
        notes.write("begun\n")
    return wait_for(go)


def fail(text: str) -> NoReturn:
    """Raise what any code may raise."""
    raise ValueError(text)


def not_found() -> NoReturn:
    """Raise an error that has a status."""
    raise NotFoundError("no such thing")


def invalid() -> NoReturn:
    """Raise an error with more than a message."""
    raise ValidationError(errors=[FieldError("/n", "too large", "less_than")])


class Picky(Exception):
    """Can be pickled and not be made again."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def picky() -> NoReturn:
    """Raise what does not travel."""
    raise Picky("one", "two")


def leave() -> NoReturn:
    """End as a script does."""
    sys.exit(3)


def die(number: int = signal.SIGKILL) -> None:
    """End this process as the kernel does."""
    os.kill(os.getpid(), number)


def unpicklable() -> object:
    """Return what cannot be sent."""
    return lambda: None


def big(count: int) -> bytes:
    """Return that many bytes."""
    return b"x" * count


def log(text: str) -> None:
    """Log a record."""
    logging.getLogger("service.work").warning("says %s", text, extra={"key": 1, "odd": object()})


def log_and_raise(text: str) -> NoReturn:
    """Log a failure and pass it on, as the guide's code does."""
    try:
        fail(text)
    except ValueError:
        logging.getLogger("service.work").exception("failed in the work")
        raise


def leave_by(kind: str) -> NoReturn:
    """Raise what ends a process."""
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}.get(kind, BaseException)(kind)
