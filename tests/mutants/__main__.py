"""Try mutants: ``python -m tests.mutants [--language NAME] [--every N] [--reachable FILE] [ID…]``.

Prints what was missed, and the recall of each assertion and each dimension.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from roadworthy.checker.registry import choose

from .catalogue import Mutant, mutants
from .drive import reachable
from .languages import LANGUAGES, Language
from .trial import Trial, try_all


def _reachable(language: Language, file: Path | None) -> set[tuple[str, str]]:
    if file is not None and file.exists():
        return {(fault, condition) for fault, condition in json.loads(file.read_text())}
    found = asyncio.run(reachable(language))
    if file is not None:
        file.write_text(json.dumps(sorted(found)))
    return found


def _dimension(one: Trial) -> str:
    return "always" if one.mutant.dimension is None else one.mutant.dimension.value


def _try(chosen: list[Mutant]) -> Iterator[Trial]:
    """Try the mutants family by family, and print what is missed as soon as it is known."""
    for _, family in groupby(chosen, key=lambda one: one.assertion.id.partition("-")[0]):
        for one in asyncio.run(try_all(list(family))):
            if not one.caught:
                how = "shown" if one.shown else "never shown"
                name = f"{one.mutant.assertion.id:<8}{one.mutant.name:<48}"
                print(f"missed {name}{how}; {one.verdict} {one.reason}", flush=True)
            yield one


def _show(found: list[Trial]) -> None:
    by_assertion: defaultdict[str, list[bool]] = defaultdict(list)
    by_dimension: defaultdict[str, list[bool]] = defaultdict(list)
    for one in found:
        by_assertion[one.mutant.assertion.id].append(one.caught)
        by_dimension[_dimension(one)].append(one.caught)
    for table in (by_assertion, by_dimension):
        print(*(f"{name:<16}{sum(each):>5} of {len(each):>4}" for name, each in table.items()), sep="\n")
    caught = sum(one.caught for one in found)
    print(f"{caught} of {len(found)} mutants are caught ({caught / max(len(found), 1):.0%})")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="ID", help="assertions or families; all when left out")
    parser.add_argument("--language", choices=LANGUAGES, default="python", help="whose mutants (python)")
    parser.add_argument("--every", type=int, default=1, help="try one in so many")
    parser.add_argument("--reachable", type=Path, help="where to keep which faults can show when")
    asked = parser.parse_args()
    ids = {entry.id for entry in choose(asked.ids)}
    language = LANGUAGES[asked.language]
    known = _reachable(language, asked.reachable)
    chosen = [one for one in mutants(known, language) if one.assertion.id in ids]
    found = list(_try(chosen[:: asked.every]))
    _show(found)
    sys.exit(not all(one.caught for one in found))


if __name__ == "__main__":
    main()
