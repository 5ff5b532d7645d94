"""Mutants of the zoo's service: each fault of a twin, on each dimension on which it may depend."""
