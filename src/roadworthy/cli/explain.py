"""``roadworthy explain RTL-6``: what is promised, why, where the rule comes from, how it is probed."""

from __future__ import annotations

from typing import Annotated

import typer

from ._messages import refuse

__all__ = ("explain",)


def explain(
    identifier: Annotated[
        str,
        typer.Argument(metavar="ID", help="An assertion (RTL-6), an item (rate-limiting) or a family (RTL)."),
    ],
) -> None:
    """Say what an assertion or an item means, and how it is probed."""
    from ..checker import ManifestError
    from ..checker.registry import choose, probe_of
    from ..checklist import ITEMS, PATTERNS

    try:
        chosen = choose((identifier,))
    except ManifestError as error:
        refuse(error)
    entries = {entry.id: entry for entry in (*ITEMS, *PATTERNS)}
    owner = entries[chosen[0].item]
    if len(chosen) > 1:
        print(f"{owner.title} ({owner.id}, {owner.family})\n\n{owner.why}\n\nSource: {owner.source}\n")
        for entry in chosen:
            print(f"{entry.id:<8} {entry.severity.value:<9} {entry.title}")
        return
    entry = next(iter(chosen))
    found = probe_of(entry.id)
    print(f"{entry.id}  {entry.severity.value}  {entry.title}\n")
    print(f"Why      {entry.why}")
    print(f"Source   {entry.source}")
    print(f"Item     {owner.title} ({owner.id})")
    if found is None:
        print("Probed   not yet")
        return
    needs = "; ".join(need.value for need in found.needs)
    plural = "s" * (found.samples != 1)
    print(f"Probed   {found.how}")
    print(f"         at least {found.samples} sample{plural}, in the phase {found.phase.value}")
    if needs:
        print(f"Needs    {needs}")
