"""How each item is mended in the stacks of the guide: one file per item, a short snippet per stack.

The files are Markdown: a heading per stack, one sentence, one block of code; under ``any`` the same in terms
of HTTP and of processes, for a stack that is not known. The snippet is where to begin
and not the whole item; the assertions say what else there is to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..catalogue import item

__all__ = ("STACKS", "Fix", "fixes_of", "general_fix")

STACKS = {
    "express": "Express",
    "nestjs": "NestJS",
    "fastify": "Fastify",
    "django": "Django",
    "fastapi": "FastAPI",
    "go": "Go (net/http)",
    "spring-boot": "Spring Boot",
}
"""The stacks by their names in commands and folders, with the names people use."""

_ANY = "any"
_SECTION = re.compile(r"^## ([^\n]+)\n\n(.+?)\n\n```(\w+)\n(.+?)\n```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fix:
    """What to do in one stack.

    Parameters:
        stack: one of :data:`STACKS`, or ``any``.
        text: what the snippet does, as a sentence.
        language: what it is written in, as Markdown names it.
    """

    stack: str
    text: str
    language: str
    snippet: str


@cache
def fixes_of(item_id: str) -> tuple[Fix, ...]:
    """Return the fixes for one item, in the order of :data:`STACKS`; none for a code pattern.

    Raises:
        LookupError: there is no such item; the message names the nearest one.
    """
    found = _sections(item_id)
    return tuple(found[name] for name in STACKS if name in found)


def general_fix(item_id: str) -> Fix:
    """Return what to do about one item whatever the stack.

    Raises:
        LookupError: there is no such item, or it is a code pattern.
    """
    return _sections(item_id)[_ANY]


@cache
def _sections(item_id: str) -> dict[str, Fix]:
    text = Path(__file__).with_name(f"{item(item_id).id}.md").read_text("utf-8")
    return {name: Fix(name, words, language, code) for name, words, language, code in _SECTION.findall(text)}
