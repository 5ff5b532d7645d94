"""The OpenAPI document is sound, and says what the suite tests."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from contract.api import document
from contract.rows import ROWS
from jsonschema import Draft202012Validator

_METHODS = ("get", "put", "post", "delete", "patch")
_ALWAYS = {"429", "500", "503"}


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document()["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method, path, item[method]


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        yield value
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    for one in inner:
        yield from _nodes(one)


def _resolve(pointer: str) -> Any:
    found: Any = document()
    for part in pointer.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_every_reference_resolves() -> None:
    """Every $ref leads to something in the document."""
    references = [node["$ref"] for node in _nodes(document()) if isinstance(node.get("$ref"), str)]
    assert len(references) > 100
    for reference in references:
        assert reference.startswith("#/components/")
        assert isinstance(_resolve(reference), dict)


def test_nothing_is_unused() -> None:
    """Every component is used, but for the two shapes of errors that any path may answer with."""
    used = {node["$ref"] for node in _nodes(document()) if isinstance(node.get("$ref"), str)}
    components = document()["components"]
    all_ = {f"#/components/{kind}/{name}" for kind, items in components.items() for name in items}
    assert all_ - used == {"#/components/responses/MethodNotAllowed", "#/components/schemas/Envelope"}


@pytest.mark.parametrize("name", document()["components"]["schemas"])
def test_schemas(name: str) -> None:
    """Every schema is a JSON Schema of the dialect that OpenAPI 3.1 names."""
    Draft202012Validator.check_schema(document()["components"]["schemas"][name])


def test_structure() -> None:
    """The document has what OpenAPI 3.1 requires: version, info, operations with ids and responses."""
    assert document()["openapi"].startswith("3.1.")
    assert {"title", "version"} <= document()["info"].keys()
    ids = [operation["operationId"] for _, _, operation in _operations()]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in document()["tags"]}
    for method, path, operation in _operations():
        assert operation["responses"], f"{method} {path}"
        assert set(operation["tags"]) <= tags
        declared = [*document()["paths"][path].get("parameters", ()), *operation.get("parameters", ())]
        parameters = [_resolve(one["$ref"]) if "$ref" in one else one for one in declared]
        named = {one["name"] for one in parameters if one["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_refusals() -> None:
    """Every operation under /api names its refusals: 422 always, those of bodies where it reads one."""
    for method, path, operation in _operations():
        if path.startswith("/api/"):
            assert operation["responses"].keys() >= _ALWAYS, f"{method} {path}"
            assert "422" in operation["responses"], f"{method} {path}"
            reads = operation.keys() & {"requestBody"}
            assert bool(reads) == (operation["responses"].keys() >= {"400", "413", "415"}), f"{method} {path}"


def test_rows() -> None:
    """The rows that the suite knows are the operations of the document, and the header that rows share."""
    operations = {f"{method.upper()} {path}" for method, path, _ in _operations()}
    assert {row.name for row in ROWS} == {*operations, "Idempotency-Key"}
