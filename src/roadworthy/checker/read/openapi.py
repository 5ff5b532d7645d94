"""The service's OpenAPI document, as far as a check reads it: methods of paths, schemas of bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .shapes import elements, members

__all__ = ("METHODS", "OpenApi")

_PARAMETER = re.compile(r"\{[^{}]*+\}")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@dataclass(frozen=True, slots=True)
class OpenApi:
    """One document; an empty one where the service has none."""

    document: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __bool__(self) -> bool:
        """Whether there is a document with paths."""
        return bool(self.paths)

    @property
    def paths(self) -> dict[str, Any]:
        """Path templates and their items; those of Swagger 2.0 stand below its ``basePath``."""
        found = members(self.document.get("paths"))
        base = self.document.get("basePath")
        if "swagger" not in self.document or not isinstance(base, str) or not base.strip("/"):
            return found
        return {f"/{base.strip('/')}{path}": item for path, item in found.items()}

    def path_item(self, path: str) -> dict[str, Any]:
        """Return the item whose template fits a path or a template, whatever its parameters are called."""
        wanted = path.partition("?")[0]
        exact = members(self.paths.get(wanted))
        if exact:
            return exact
        for template, item in self.paths.items():
            if _fits(template, wanted):
                return members(item)
        return {}

    def methods(self, path: str) -> set[str]:
        """Return the methods that are documented for a path."""
        return {name.upper() for name in self.path_item(path) if name.upper() in METHODS}

    def operation(self, method: str, path: str) -> dict[str, Any]:
        """Return one operation; empty when it is not documented."""
        return members(self.path_item(path).get(method.lower()))

    def resolve(self, schema: Any) -> dict[str, Any]:
        """Return a schema with its ``$ref`` followed, as far as it points into this document."""
        found = members(schema)
        for _ in range(20):
            reference = found.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#/"):
                break
            node: Any = self.document
            for part in reference[2:].split("/"):
                node = members(node).get(part.replace("~1", "/").replace("~0", "~"))
            found = members(node)
        return found

    def body_schema(self, method: str, path: str) -> dict[str, Any]:
        """Return the schema of an operation's JSON body; empty without one."""
        operation = self.operation(method, path)
        # In Swagger 2.0 the body is a parameter.
        for parameter in map(self.resolve, elements(operation.get("parameters"))):
            if parameter.get("in") == "body":
                return self.resolve(parameter.get("schema"))
        content = members(self.resolve(operation.get("requestBody")).get("content"))
        return self.resolve(members(content.get("application/json")).get("schema"))


def _fits(template: str, path: str) -> bool:
    parts, wanted = template.split("/"), path.split("/")
    return len(parts) == len(wanted) and all(map(_part_fits, parts, wanted))


def _part_fits(part: str, wanted: str) -> bool:
    """Tell whether a part of a path fits one of a template, in which ``{…}`` is one character or more.

    Each text between two parameters is taken where it first occurs, so nothing is tried twice.
    """
    first, *texts = _PARAMETER.split(part)
    if not texts:
        return first == wanted
    *middle, last = texts
    if not wanted.startswith(first) or not wanted.endswith(last):
        return False
    at = len(first)
    for text in middle:
        at = wanted.find(text, at + 1)
        if at < 0:
            return False
        at += len(text)
    return at + 1 + len(last) <= len(wanted)
