"""The file ``.env``: read line by line, and every line that would be lost is reported with its number.

python-dotenv passes over what it cannot read and goes on, so that a limit or a secret behind an unclosed
quote falls back to its default. Here such a line is a mistake. A message has the line's number and never its
text: a line that is not understood may be the middle of a secret.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from dotenv.main import resolve_variables
from dotenv.parser import Binding, parse_stream
from dotenv.variables import Variable, parse_variables

from .mistakes import Problem

__all__ = ("read_dotenv",)

_QUOTED = re.compile(r"(?:export\s+)?[^=#\s]+\s*=\s*['\"]")
_COLON = re.compile(r"(?:export\s+)?[\w.-]+\s*:(?:\s|$)")
_ASSIGNMENT = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=", re.MULTILINE)
_FORM = "write NAME=value"


def read_dotenv(
    path: Path, encoding: str, is_read: Callable[[str], bool]
) -> tuple[dict[str, str], list[Problem]]:
    """Return what a file sets, and its mistakes.

    A file that is missing sets nothing. So does a folder that is a virtual environment, which some call
    ``.env`` too; another folder in the file's place is a mistake (Docker makes one for a bind mount whose
    file is missing). A line that cannot be read is a mistake whatever it was to set. These are mistakes for
    variables that are read, and otherwise left to the other readers of the file: two different values for
    one name, a name without a value that the environment does not have either, a reference to a variable
    that is not set, and a quote that is closed only after a further assignment.

    Parameters:
        path: the file.
        encoding: of the file; a byte order mark of UTF-8 is no part of the first name.
        is_read: returns whether a setting is read from the variable.
    """
    text, problem = _text(path, encoding)
    if problem is not None:
        return {}, [Problem(str(path), problem)]
    bindings = list(parse_stream(io.StringIO(text, newline=None)))
    problems = [
        Problem(f"{path} line {line}", message)
        for line, message in _mistakes(bindings, is_read)
    ]  # fmt: skip
    given = [(one.key, one.value) for one in bindings if one.key is not None]
    values = resolve_variables(given, override=True)
    return {name: value for name, value in values.items() if value is not None}, problems


def _text(path: Path, encoding: str) -> tuple[str, str | None]:
    """Return the file's text, or what keeps it from being read."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            if (path / "pyvenv.cfg").exists():
                return "", None
            return "", "is a folder, where a file was expected; remove it or put the file in its place"
        if not stat.S_ISREG(kind):
            # /dev/null is a custom for "no file"; a pipe would block the start.
            return "", None if stat.S_ISCHR(kind) else "is not a regular file"
        content = path.read_bytes()
    except FileNotFoundError:
        return "", "is a link to a file that is missing" if path.is_symlink() else None
    except OSError as error:
        return "", f"cannot be read ({error.strerror})"
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return "", f"is not {encoding} text (line {line})"
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        return "", f"is not {encoding} text (line {line} has a byte 0)"
    return text, None


def _mistakes(bindings: list[Binding], is_read: Callable[[str], bool]) -> Iterator[tuple[int, str]]:
    seen: dict[str, tuple[int, str | None]] = {}
    known = set(os.environ)
    for one in bindings:
        text = one.original.string
        body = text.lstrip()
        line = one.original.line + text[: len(text) - len(body)].count("\n")
        if one.error:
            yield line, _unreadable(body)
            continue
        yield from _swallowed(line, body, is_read)
        if one.key is None:
            continue
        if is_read(one.key):
            first, value = seen.setdefault(one.key, (line, one.value))
            if value != one.value:
                yield line, f"{one.key} has another value than in line {first}; keep one of the two"
            # A name alone is Docker's form for "take it from the environment".
            elif one.value is None and one.key not in os.environ:
                yield line, f"{one.key} has no value; {_FORM}"
            if _refers_to_unset(one.value or "", known):
                yield line, f"{one.key} refers to a variable that is not set; set it, or write the value"
        if one.value is not None:
            known.add(one.key)


def _unreadable(body: str) -> str:
    if _QUOTED.match(body):
        return "a quote is not closed, or text follows it; close it at the end of the value"
    if _COLON.match(body):
        return f"a colon stands where = belongs; {_FORM}"
    return f"is not of the form NAME=value; {_FORM}"


def _swallowed(line: int, body: str, is_read: Callable[[str], bool]) -> Iterator[tuple[int, str]]:
    """Find assignments inside a value of several lines: the quote was to be closed before them."""
    for match in _ASSIGNMENT.finditer(body, body.find("\n") + 1 or len(body)):
        if is_read(match[1]):
            inside = line + body.count("\n", 0, match.start())
            yield line, f"a quote is still open in line {inside}, which sets {match[1]}; close it before"


def _refers_to_unset(value: str, known: set[str]) -> bool:
    return any(
        isinstance(atom, Variable) and atom.default is None and atom.name not in known
        for atom in parse_variables(value)
    )
