"""Run one target under atheris: ``python -m tests.fuzz.engine NAME SECONDS FOLDER``.

libFuzzer ends the process itself, so each target has a process of its own. Code of ours is instrumented while
it is imported: nothing of it may be imported before.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["roadworthy"]):
    from .registry import TARGETS
    from .target import shrunk

SEED = 7
SECONDS_OF_ONE_INPUT = 60
"""After which an input counts as endless; generous, for the machine may be busy."""


def main() -> None:
    """Fuzz until the time is over, or print the first finding, made shorter, and exit with its exception."""
    # Warnings would go to the same stream as the findings, thousands of them.
    logging.getLogger("roadworthy").addHandler(logging.NullHandler())
    name, seconds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    target = next(one for one in TARGETS if one.name == name)
    corpus, seeds = folder / "corpus", folder / "seeds"
    for made in (corpus, seeds):
        made.mkdir()
    for number, seed in enumerate(target.seeds):
        (seeds / str(number)).write_bytes(target.written(seed))

    def fails(data: bytes) -> bool:
        try:
            target(data)
        except Exception:
            return True
        return False

    def one(data: bytes) -> None:
        try:
            target(data)
        except Exception:
            traceback.print_exc()
            small = shrunk(fails, data)
            print(f"FINDING {name} {target.spelled(small)!r} written {small!r}", file=sys.stderr, flush=True)
            raise

    options = [
        *(f"-max_total_time={seconds}", f"-seed={SEED}", f"-max_len={target.longest}"),
        *(f"-timeout={SECONDS_OF_ONE_INPUT}", "-rss_limit_mb=3072", f"-artifact_prefix={folder}/"),
        *("-print_final_stats=1", str(corpus), str(seeds)),
    ]
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
