"""Tests of the layer as an ASGI app."""
