"""Writes a manifest from what was inferred, each line with its evidence as a comment."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, cast

from ..read.shapes import members
from .infer import ASK, SECRET, Inference
from .model import Manifest
from .routes import Route

__all__ = ("manifest_text",)

_URL_MODE = (
    "URL mode: the check does not start this service, so its environment, its logs, its shutdown and faults",
    "of its store cannot be tried: 8 of the 12 items can be proved. Set start.command for all of them.",
)

_SECONDS = {"rate_limit.window", "limits.request_timeout"}
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def manifest_text(inference: Inference) -> str:
    """Return ``roadworthy.toml``, with what could not be inferred as comments at its end."""
    manifest = inference.manifest
    tables: dict[str, list[str]] = {"": ["version = 1"], "start": list(_start(manifest))}
    if manifest.listen.port_env and "listen.port_env" not in inference.facts:
        tables["listen"] = [f"port_env = {_toml(manifest.listen.port_env)}"]
    if manifest.env.set and "env.set" not in inference.facts:
        # What stood on the command line may be a secret, and this file is committed.
        values = {
            name: f"${{{name}}}" if SECRET.search(name) else text for name, text in manifest.env.set.items()
        }
        tables["env"] = [f"set = {_toml(values)}"]
    for place, fact in inference.facts.items():
        table, _, key = place.rpartition(".")
        value = f"{fact.value:g}s" if place in _SECONDS else fact.value
        tables.setdefault(table, []).append(f"{key} = {_toml(value)}  # inferred: {_comment(fact.evidence)}")
    lines = ["# What `roadworthy check` knows about this service; written by `roadworthy check init`."]
    if manifest.start.url:
        lines += [f"# {line}" for line in _URL_MODE]
    for table, entries in tables.items():
        lines += ["", f"[{table}]"] if table else []
        lines += entries
    known = {*inference.facts, *manifest.lines}
    lines += ["", "# Not seen from outside; what stays open here stays without proof:"]
    lines += [f"# {place}: {what}" for place, what in ASK.items() if place not in known]
    lines += [f"# {_comment(note)}" for note in inference.notes]
    return "\n".join(lines) + "\n"


def _start(manifest: Manifest) -> Iterator[str]:
    if manifest.start.url:
        yield f"url = {_toml(manifest.start.url)}"
        return
    command = manifest.start.command
    own = (sys.executable, "-m", "roadworthy")
    yield f"command = {_toml(['roadworthy', *command[3:]] if command[:3] == own else list(command))}"


def _toml(value: Any) -> str:
    """Return a value of JSON as one of TOML; what is null is left out, as TOML has no such thing."""
    if isinstance(value, Route):
        return _toml(_route(value))
    if isinstance(value, dict):
        pairs = [
            f"{key if _BARE.fullmatch(key) else json.dumps(key)} = {_toml(entry)}"
            for key, entry in members(cast("object", value)).items()
            if entry is not None
        ]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(entry) for entry in cast('list[object]', value) if entry is not None)}]"
    # Texts, numbers and flags are written alike in both; DEL alone has to be escaped in TOML.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


_METHODS = {"create": "POST", "update": "PUT", "delete": "DELETE"}


def _route(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {"path": route.path}
    if route.method != _METHODS.get(route.role, "GET"):
        found["method"] = route.method
    if route.body is not None:
        found["body"] = route.body
    if route.id != "$.id":
        found["id"] = route.id
    return found


def _comment(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
