"""What a module offers is what it says it offers."""

import ast
import importlib
from pathlib import Path

import pytest

import roadworthy

ROOT = Path(__file__).parents[1] / "src"


def module_name(path: Path) -> str:
    """Return the name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_public(path: Path) -> bool:
    """Tell whether no part of a module's name is underscored."""
    return not any(part.startswith("_") for part in module_name(path).split("."))


def defined(text: str) -> set[str]:
    """Return the public names that a module defines: functions, classes, constants, types."""
    names: set[str] = set()
    for node in ast.parse(text).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case _:
                pass
    return {name for name in names if not name.startswith("_")}


PUBLIC = [path for path in sorted((ROOT / "roadworthy").rglob("*.py")) if is_public(path)]
each_module = pytest.mark.parametrize("path", PUBLIC, ids=module_name)


@each_module
def test_a_public_module_lists_what_it_defines(path: Path) -> None:
    """Every name that a module defines is in its ``__all__`` or underscored."""
    names = defined(path.read_text())
    offered = getattr(importlib.import_module(module_name(path)), "__all__", ())
    assert names - set(offered) == set()


@each_module
def test_what_a_public_module_lists_is_there(path: Path) -> None:
    """``__all__`` is a tuple without repetitions, and each name in it can be imported."""
    module = importlib.import_module(module_name(path))
    if not hasattr(module, "__all__"):
        assert defined(path.read_text()) == set()
        return
    assert isinstance(module.__all__, tuple)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@each_module
def test_what_a_public_module_offers_is_described(path: Path) -> None:
    """Every module, and every class and function that it defines and offers, has a docstring of its own."""
    tree = ast.parse(path.read_text())
    offered = getattr(importlib.import_module(module_name(path)), "__all__", ())
    described = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    nodes = [node for node in tree.body if isinstance(node, described) and node.name in offered]
    assert len((ast.get_docstring(tree) or "").split()) > 2
    # Of an overloaded function only the implementation is described.
    assert {node.name for node in nodes} == {node.name for node in nodes if ast.get_docstring(node)}


def test_the_front_door_offers_what_it_lists_and_nothing_else() -> None:
    """Names of the package itself are its public interface: all of them are listed, and machinery is not."""
    assert dir(roadworthy) == sorted(roadworthy.__all__)
    for name in roadworthy.__all__:
        assert getattr(roadworthy, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        roadworthy.nothing_of_ours  # noqa: B018


def test_the_promised_names_are_offered() -> None:
    """The names of the documentation's first example can be imported from the package."""
    promised = {"roadworthy", "APIError", "NotFoundError", "ValidationError", "ConflictError", "RouteRule"}
    assert promised <= set(roadworthy.__all__)


def test_an_unlisted_name_is_seen() -> None:
    """The definitions of a module are found whatever their form, underscored ones aside."""
    text = "a = b = 1\nc: int = 2\ndef d(): ...\nasync def e(): ...\nclass F: ...\n_g = 3\nimport os\n"
    assert defined(text) == {"a", "b", "c", "d", "e", "F"}
