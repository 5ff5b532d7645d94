"""HTML in which text cannot become markup: whatever is not :class:`Markup` is escaped where it is put in."""

from __future__ import annotations

from html import escape
from typing import TypeAlias

__all__ = ("Markup", "Node", "many", "tag")


class Markup(str):
    """Text that is markup already; made by :func:`tag` alone."""

    __slots__ = ()


Node: TypeAlias = "Markup | str | None"
"""What stands inside an element: markup, text that will be escaped, or nothing."""

_VOID = {"meta", "br"}


def tag(name: str, /, *children: Node, **attributes: str | bool | None) -> Markup:
    """Return an element.

    Parameters:
        attributes: a trailing underscore is dropped (``class_``), others become hyphens; True writes the name
            alone, False and None nothing.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escape(str(value))}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if name in _VOID else f"{start}{many(*children)}</{name}>")


def many(*children: Node) -> Markup:
    """Return nodes one after the other."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(_visible(child)) for child in children if child
        )
    )


def _visible(text: str) -> str:
    """Show what HTML must not hold, and what would turn the direction of the text around it."""
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text)
