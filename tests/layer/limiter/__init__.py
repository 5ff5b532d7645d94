"""Tests of the rate limit's counts."""
