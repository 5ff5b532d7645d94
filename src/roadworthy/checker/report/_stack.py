"""Which stack a service is made with, as far as its command and its responses show; and the fix for it."""

from __future__ import annotations

import re

from ...checklist import ITEMS
from ...checklist.fixes import STACKS, Fix, fixes_of, general_fix
from ..events import Run
from ..verdict import WireExchange

__all__ = ("fix_for", "stack_of")

# The first that is found decides: what a framework alone writes comes before what a server writes that
# carries several frameworks.
_COMMANDS = (
    (
        "django",
        re.compile(r"\bmanage\.py\b|\bdjango\b|\b[\w.]+\.[aw]sgi(?::application)?(?:\s|$)|\bdaphne\b"),
    ),
    ("nestjs", re.compile(r"\bnest\b|\bdist/main(?:\.js)?(?:\s|$)")),
    ("fastify", re.compile(r"\bfastify\b")),
    ("spring-boot", re.compile(r"\bspring-boot\b|\bbootRun\b|\bspring\b")),
    ("go", re.compile(r"(?:^|/)go run\b|\.go(?:\s|$)")),
    ("fastapi", re.compile(r"\b(?:fastapi|uvicorn|hypercorn|granian)\b|\broadworthy run\b")),
)
_FIELDS = (
    ("express", re.compile(r"^x-powered-by:\s*express\b", re.IGNORECASE | re.MULTILINE)),
    ("django", re.compile(r"^server:\s*(?:wsgiserver|daphne)\b", re.IGNORECASE | re.MULTILINE)),
    ("fastapi", re.compile(r"^server:\s*(?:uvicorn|hypercorn|granian)\b", re.IGNORECASE | re.MULTILINE)),
)


def stack_of(run: Run) -> str:
    """Return the name of the stack, one of :data:`~roadworthy.checklist.fixes.STACKS`; empty if unknown.

    It is read from the command, and from the fields Server and X-Powered-By of the responses that a run
    keeps as evidence.
    """
    start = run.manifest.start
    commands = [" ".join(words) for words in (start.command, start.probe_command) if words]
    for stack, pattern in _COMMANDS:
        if any(pattern.search(command) for command in commands):
            return stack
    heads = list(dict.fromkeys(_heads(run)))
    for stack, pattern in _FIELDS:
        if any(pattern.search(head) for head in heads):
            return stack
    return ""


def _heads(run: Run) -> list[str]:
    """Return the heads of all responses that are evidence."""
    evidence = (
        each
        for result in run.results
        for each in (*result.evidence, *(one for finding in result.findings for one in finding.evidence))
    )
    return [each.response.partition("\n\n")[0] for each in evidence if isinstance(each, WireExchange)]


def fix_for(item_id: str, stack: str) -> tuple[str, Fix] | None:
    """Return the fix of an item and the name of the stack it is for; None for a code pattern.

    Parameters:
        stack: as :func:`stack_of` returns it; the fix of an unknown one is in terms of HTTP.
    """
    if item_id not in {item.id for item in ITEMS}:
        return None
    own = next((fix for fix in fixes_of(item_id) if fix.stack == stack), None)
    return (STACKS[stack], own) if own else ("any stack", general_fix(item_id))
