"""Tests of log records on their way."""
