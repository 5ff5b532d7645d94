"""Tests of WebSockets on the wire."""
