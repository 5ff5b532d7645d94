"""Tests of the framework adapters, each on real apps."""
