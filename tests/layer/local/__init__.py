"""Tests of what worker processes share."""
