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


PUBLIC_ROOMS = {"roadworthy", "roadworthy.checker", "roadworthy.errors", "roadworthy.patterns"}
"""Modules whose names are for users of the package."""

BY_NAME = {
    "DjangoFramework": "detect() takes it from the adapter",
    "PROBES": "the registry takes it from each module of probes",
    "write": "the command line takes it from the report that is asked for",
}


def imported_names() -> set[tuple[str, str]]:
    """Return module and name of all that is imported from modules of ours, or read as an attribute of one."""
    found: set[tuple[str, str]] = set()
    folders = ("src", "tests", "scripts", "benchmarks", "examples", "contract")
    for path in (path for folder in folders for path in (ROOT.parent / folder).rglob("*.py")):
        place = module_name(path).split(".") if ROOT in path.parents else []
        package = place if path.name == "__init__.py" else place[:-1]
        modules: dict[str, str] = {}
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                base = ".".join([*above, *filter(None, [node.module])])
                for alias in node.names:
                    found.add((base, alias.name))
                    modules[alias.asname or alias.name] = f"{base}.{alias.name}"
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in modules:
                found.add((modules[ast.unparse(node.value)], node.attr))
    return found


def listed(text: str) -> set[str]:
    """Return what ``__all__`` of a module has."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def types_of_what_is_offered(text: str, offered: set[str]) -> set[str]:
    """Return the names in annotations, aliases, bases and raise statements of a module.

    Whoever uses what has them uses them too.
    """
    parts: list[ast.expr | None] = []
    for top in ast.parse(text).body:
        name = getattr(top, "name", "")
        for node in ast.walk(top):
            match node:
                case ast.arg(annotation=part) | ast.AnnAssign(annotation=part):
                    parts.append(part)
                case ast.Raise(exc=ast.Call(func=part)) | ast.Raise(exc=part):
                    parts.append(part)
                case ast.FunctionDef(returns=part) | ast.AsyncFunctionDef(returns=part):
                    parts.append(part)
                case _:
                    pass
        if isinstance(top, ast.ClassDef) and name in offered:
            parts.extend(top.bases)
        if isinstance(top, ast.AnnAssign):
            parts.append(top.value)
    nodes = (node for part in parts if part is not None for node in ast.walk(part))
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def test_what_a_module_offers_is_used() -> None:
    """Each name in ``__all__`` of a room's module is imported by others, or is a type of what it offers."""
    used = imported_names()
    unused: set[str] = set()
    for path in (ROOT / "roadworthy").rglob("*.py"):
        module, text = module_name(path), path.read_text()
        offered = listed(text) - BY_NAME.keys()
        types = types_of_what_is_offered(text, offered)
        if module not in PUBLIC_ROOMS:
            unused |= {f"{module}.{name}" for name in offered - types if (module, name) not in used}
    assert unused == set()


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
