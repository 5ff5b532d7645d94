"""``roadworthy explain RTL-6``: what is promised, why, by whose rule, how it is probed and mended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ._messages import refuse

if TYPE_CHECKING:
    from ..checklist import Assertion, Item, Pattern

__all__ = ("explain",)


def explain(
    identifier: Annotated[
        str,
        typer.Argument(metavar="ID", help="An assertion (RTL-6), an item (rate-limiting) or a family (RTL)."),
    ],
    stack: Annotated[
        str,
        typer.Option(metavar="NAME", help="Show the fix for this stack only, or none.", show_default=False),
    ] = "",
) -> None:
    """Explain an assertion or an item: what it means, how it is probed, and the fix in each stack."""
    from ..checker import ManifestError
    from ..checker.registry import choose
    from ..checklist import ITEMS, PATTERNS
    from ..checklist.fixes import STACKS
    from ..near import did_you_mean

    if stack and stack not in {*STACKS, "none"}:
        refuse(f"--stack {stack} is not one of {', '.join(STACKS)}, none{did_you_mean(stack, STACKS)}")
    try:
        chosen = choose((identifier,))
    except ManifestError as error:
        refuse(error)
    owner = {entry.id: entry for entry in (*ITEMS, *PATTERNS)}[chosen[0].item]
    if len(chosen) == 1:
        _explain_assertion(chosen[0], owner)
    else:
        print(f"{owner.title} ({owner.id}, {owner.family})\n\n{owner.why}\n\nSource: {owner.source}\n")
        for entry in chosen:
            print(f"{entry.id:<8} {entry.severity.value:<9} {entry.title}")
    if stack != "none" and owner in ITEMS:
        _show_fixes(owner.id, stack)


def _explain_assertion(entry: Assertion, owner: Item | Pattern) -> None:
    from ..checker.registry import probe_of

    found = probe_of(entry.id)
    print(f"{entry.id}  {entry.severity.value}  {entry.title}\n")
    print(f"Why      {entry.why}")
    print(f"Source   {entry.source}")
    print(f"Item     {owner.title} ({owner.id})")
    if found is None:
        print("Probed   not yet")
        return
    plural = "s" * (found.samples != 1)
    quick = "" if found.quick else ", not in the quick profile"
    print(f"Probed   {found.how}")
    print(f"         at least {found.samples} sample{plural}, in the phase {found.phase.value}{quick}")
    varied = [one.value for one in found.varied]
    constant = [one.value for one in entry.depends_on if one not in found.varied]
    print(f"Varied   {', '.join(varied) or 'nothing'}")
    if constant:
        print(f"         not varied, though a fault may depend on it: {', '.join(constant)}")
    if found.needs:
        print(f"Needs    {'; '.join(need.value for need in found.needs)}")


def _show_fixes(item_id: str, stack: str) -> None:
    from ..checklist.fixes import STACKS, fixes_of

    for fix in fixes_of(item_id):
        if stack in {"", fix.stack}:
            snippet = "\n".join(f"    {line}".rstrip() for line in fix.snippet.splitlines())
            print(f"\nFix in {STACKS[fix.stack]}: {fix.text}\n\n{snippet}")
