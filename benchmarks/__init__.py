"""Benchmarks: ratios measured side by side in one run, on one machine, with the command that repeats them."""
