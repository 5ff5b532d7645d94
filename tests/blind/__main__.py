"""``python -m tests.blind [NAME…]``: what the check finds of the twins that were written blind.

Without a name all of them run, and ``results.json`` and ``docs/blind-twins.md`` are written anew. Two run at
a time, and first the good services: what they do not pass says nothing about a twin.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .catalogue import LANGUAGES, TWINS, Twin, prepare
from .judging import judge_good, judge_twin
from .page import PAGE, page_of

_RESULTS = Path(__file__).with_name("results.json")
_AT_A_TIME = 2


def _commit() -> str:
    """Return the last commit that changed what is judged, the checker."""
    command = ["git", "log", "-1", "--format=%h", "--", "src"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _good(pool: ProcessPoolExecutor, places: dict[str, Path], twins: list[Twin]) -> dict[str, dict[str, str]]:
    ids = {each: sorted({twin.breaks for twin in twins if twin.language == each}) for each in places}
    futures = {each: pool.submit(judge_good, place, ids[each]) for each, place in places.items()}
    return {each: future.result() for each, future in futures.items()}


def _judge(twins: list[Twin]) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="blind-services-") as folder:
        places: dict[str, Path] = {}
        for language in dict.fromkeys(twin.language for twin in twins):
            own = Path(folder, LANGUAGES[language])
            own.mkdir()
            places[language] = prepare(language, own)
        with ProcessPoolExecutor(_AT_A_TIME, context, max_tasks_per_child=1) as pool:
            good = _good(pool, places, twins)
            for language, verdicts in good.items():
                spoilt = {each: why for each, why in verdicts.items() if why != "pass"}
                print(
                    f"{language}: the good service passes {len(verdicts) - len(spoilt)} of {len(verdicts)}",
                    spoilt or "",
                )
            found: dict[str, Any] = {}
            futures = {}
            for twin in twins:
                if good[twin.language][twin.breaks] == "pass":
                    futures[pool.submit(judge_twin, places[twin.language], twin)] = twin
                else:
                    found[twin.name] = {
                        "outcome": "unused",
                        "verdict": "",
                        "why": good[twin.language][twin.breaks],
                    }
            for future in as_completed(futures):
                twin = futures[future]
                found[twin.name] = future.result()
                outcome, why = found[twin.name]["outcome"], found[twin.name]["why"]
                print(f"{outcome:12} {twin.name:28} {twin.breaks:7} {why[:150]}", flush=True)
    return {"good": good, "twins": {twin.name: found[twin.name] for twin in twins}}


def main() -> None:
    """Judge the twins that are named, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.blind", description="Try the check on the blind twins."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a twin; all without one")
    parser.add_argument("--page", action="store_true", help="write the page from the results that are there")
    arguments = parser.parse_args()
    known = {twin.name: twin for twin in TWINS}
    wrong = [name for name in arguments.names if name not in known]
    if wrong:
        parser.error(f"there is no twin {', '.join(wrong)}")
    if not arguments.page:
        twins = [known[name] for name in arguments.names] or list(TWINS)
        results = _judge(twins)
        if arguments.names:
            return
        head = {"date": datetime.now(UTC).date().isoformat(), "commit": _commit()}
        _RESULTS.write_text(json.dumps(head | results, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page_of(json.loads(_RESULTS.read_text())))


if __name__ == "__main__":
    main()
