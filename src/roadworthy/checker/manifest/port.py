"""Where a command takes its port: the words in which ``{port}`` can stand for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ("assigned", "with_port")

_NUMBER = r"([1-9]\d{1,4})"
_OPTION = re.compile(r"-p|--?(?:\w+[-_.])*(?:port|PORT)")
_ADDRESS = re.compile(r"-b|-a|-l|--?(?:\w+[-_.])*(?:bind|addr|address|listen|url|urls|endpoint|host)")
# The port of a URL or of host:port, of :port alone, and behind "port" in one word.
_IN_ADDRESS = re.compile(rf"(?<=:){_NUMBER}(?=/?(?:$|[;,]))")
_IN_OPTION = re.compile(rf"(?<=port[=:]){_NUMBER}$", re.IGNORECASE)
_SHORT = re.compile(rf"(?<=^-p){_NUMBER}$")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_PLAIN = re.compile(_NUMBER)


def with_port(command: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the command with ``{port}`` in place of a port that it names, for each port that it may be.

    ``--port 8000``, ``--port=8000``, ``-p 8000``, ``-Dserver.port=8000``, ``--bind 0.0.0.0:8000``, ``:8000``,
    ``--urls http://127.0.0.1:8000``, and last a number alone. Which of them is right shows a start.
    """
    places: dict[str, list[tuple[int, re.Match[str]]]] = {}
    for at, match in _places(command):
        places.setdefault(match[1], []).append((at, match))
    for found in places.values():
        words = list(command)
        for at, match in found:
            words[at] = f"{match.string[: match.start(1)]}{{port}}{match.string[match.end(1) :]}"
        yield tuple(words)


def _places(command: Sequence[str]) -> Iterator[tuple[int, re.Match[str]]]:
    alone: list[tuple[int, re.Match[str]]] = []
    for at in range(1, len(command)):
        before, word = command[at - 1], command[at]
        plain = _PLAIN.fullmatch(word)
        match = _IN_OPTION.search(word) or _SHORT.search(word)
        if plain and (_OPTION.fullmatch(before) or _ADDRESS.fullmatch(before)):
            match = plain
        if match is not None or (_is_address(before, word) and (match := _IN_ADDRESS.search(word))):
            yield at, match
        elif plain:
            alone.append((at, plain))
    yield from alone


def _is_address(before: str, word: str) -> bool:
    """Tell whether a word is where to listen, and not where else something is."""
    name, equals, value = word.partition("=")
    if equals and _ADDRESS.fullmatch(name):
        return "@" not in value
    return bool(_ADDRESS.fullmatch(before) or re.fullmatch(r"[\w.*\[\]-]*:\d+", word)) and "@" not in word


def assigned(command: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Take the variables from the beginning of a command, as a shell does: ``PORT=8000 node app.js``.

    Returns:
        the variables, and the command without them.
    """
    variables: dict[str, str] = {}
    words = list(command)
    while len(words) > 1 and (match := _ASSIGNMENT.fullmatch(words[0])):
        variables[match[1]] = match[2]
        del words[0]
    return variables, tuple(words)
