"""Tests of the production layer."""
