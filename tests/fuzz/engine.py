"""Run one target under atheris: ``python -m tests.fuzz.engine MODULE NAME SECONDS FOLDER``.

libFuzzer ends the process itself, so each target has a process of its own. Our code is instrumented while it
is imported, which takes seconds: the module of the target alone is imported, and nothing of ours before it.
"""

from __future__ import annotations

import logging
import sys
import traceback
from importlib import import_module
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["roadworthy"]):
    _module = import_module(sys.argv[1])
    from .target import Finding, Target, report

SEED = 7
SECONDS_OF_ONE_INPUT = 60
"""After which an input counts as endless; generous, for the machine may be busy."""


def main() -> None:
    """Fuzz until the time is over, or print the first finding, made shorter, and exit with its exception."""
    # Warnings would go to the same stream as the findings, thousands of them.
    logging.getLogger("roadworthy").addHandler(logging.NullHandler())
    name, seconds, folder = sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    target: Target = next(one for one in _module.TARGETS if one.name == name)
    corpus, seeds = folder / "corpus", folder / "seeds"
    for made in (corpus, seeds):
        made.mkdir()
    for number, seed in enumerate(target.seeds):
        (seeds / str(number)).write_bytes(target.written(seed))

    def one(data: bytes) -> None:
        try:
            report(target, data)
        except Finding:
            traceback.print_exc()
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
