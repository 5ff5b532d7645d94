"""Run the scenarios, print what they found and keep it: ``python -m benchmarks [--rounds 5]``."""

from __future__ import annotations

import argparse

from .record import keep
from .scenarios import data, layer, protocol, readers

SCENARIOS = {
    "layer-cost": layer.cost,
    "layer-cost-workers": layer.cost_of_workers,
    "equipped-fastapi": layer.equipped,
    "protocol": protocol.throughput,
    "worst-inputs": readers.worst_inputs,
    "data": data.drivers,
}


def main() -> None:
    """Run what the command line names; all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    unknown = set(arguments.scenario) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    for name in arguments.scenario or SCENARIOS:
        keep(name, arguments.rounds, arguments.seconds, SCENARIOS[name](arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
