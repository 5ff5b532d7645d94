"""The walls between the rooms: what may import what (ARCHITECTURE.md), and proof that a breach is seen."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from roadworthy.checklist import ITEMS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "roadworthy"


def contracts() -> list[dict[str, Any]]:
    """Return the contracts as they are configured."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[dict[str, Any]] = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return found


def check_walls(source: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with the project's contracts over the package below ``source``."""
    run = "import sys; from importlinter.cli import lint_imports as check"
    code = f"{run}; sys.exit(check(sys.argv[1], no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "pyproject.toml")],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def unplaced(rooms: set[str], configured: list[dict[str, Any]]) -> set[str]:
    """Return the rooms that no contract restricts."""
    named = {
        module
        for contract in configured
        for key in ("source_modules", "protected_modules")
        for module in contract.get(key, [])
    }
    return {room for room in rooms if f"roadworthy.{room}" not in named}


def eager_imports(text: str, module: str, *, names: bool = False) -> Iterator[str]:
    """Yield what ``module`` imports when it is imported itself: outside functions and type checking.

    Parameters:
        names: yield each name with the module that it is imported from, and not that module alone.
    """
    waiting: list[ast.AST] = [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            whole = node.module and not names
            yield from ([base] if whole else (f"{base}.{alias.name}" for alias in node.names))
        waiting.extend(ast.iter_child_nodes(node))


def is_light(imported: str) -> bool:
    """Tell whether the command line may import this before it knows which command is meant."""
    top = imported.partition(".")[0]
    return top == "typer" or top in sys.stdlib_module_names or f"{imported}.".startswith("roadworthy.cli.")


def heavy_imports(source: Path) -> set[tuple[str, str]]:
    """Return who imports what heavy thing when the command line below ``source`` is imported."""
    found: set[tuple[str, str]] = set()
    seen: set[str] = set()
    # The commands wait until the state that the process inherits is in order.
    waiting = ["roadworthy.cli", "roadworthy.cli._commands"]
    while waiting:
        module = waiting.pop()
        file = source.joinpath(*module.split(".")).with_suffix(".py")
        if not file.exists():
            file = file.with_suffix("") / "__init__.py"
        if module in seen or not file.exists():
            continue
        seen.add(module)
        # Relative names count from the package: __init__ stands one level below it, as any module does.
        place = f"{module}.__init__" if file.name == "__init__.py" else module
        for imported in eager_imports(file.read_text(), place):
            if not is_light(imported):
                found.add((module, imported))
            elif imported.startswith("roadworthy.cli"):
                waiting.append(imported)
    return found


def test_every_wall_stands() -> None:
    """No room imports what it must not, directly or through others."""
    done = check_walls(PACKAGE.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_has_a_wall() -> None:
    """A room that is added to the package has to be placed in a contract."""
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    public = {room for room in modules | packages if not room.startswith("_")}
    assert unplaced(public, contracts()) == set()
    assert unplaced({"layer", "annex"}, contracts()) == {"annex"}


def test_the_contract_between_items_lists_every_item() -> None:
    """Each item of the checklist is among the modules that must not import each other."""
    (independent,) = (each for each in contracts() if each["type"] == "independence")
    expected = {f"roadworthy.layer.{item.id.replace('-', '_')}" for item in ITEMS}
    assert expected <= set(independent["modules"])


BREACHES = [
    ("foundations", "errors.py", "from .layer import routes"),
    ("foundations", "types.py", "from . import errors"),
    ("foundations", "exits.py", "from . import types"),
    ("foundations", "ambient.py", "def late() -> None:\n    from .layer import exchange"),
    ("checklist", "checklist/items.py", "from .. import errors"),
    ("settings", "settings/values.py", "from ..layer import routes"),
    ("settings", "settings/values.py", "from .. import checklist"),
    ("checker", "checker/verdict.py", "from .. import errors"),
    ("checker", "checker/http/wire.py", "from ...layer import codings"),
    ("probes", "checker/runner.py", "from .probes import cors"),
    ("layer", "layer/exchange.py", "from .. import server"),
    ("layer", "layer/cors.py", "def late() -> None:\n    from .. import patterns"),
    ("layer", "layer/cors.py", "from .. import annex"),
    ("items", "layer/cors.py", "from . import rate_limiting"),
    ("items", "layer/_annex.py", "from . import metrics\nfrom . import cors"),
    ("adapters", "layer/pipeline.py", "from .frameworks import django"),
    ("server", "server/__init__.py", "from .. import patterns"),
    ("server", "server/http/parser.py", "from ...checklist import ITEMS"),
    ("patterns", "patterns/__init__.py", "from .. import server"),
    ("patterns", "patterns/repository.py", "from .. import checklist"),
    ("command-line", "server/__init__.py", "from .. import cli"),
    ("front-door", "layer/cors.py", "import roadworthy"),
]
"""Of each: the contract that is broken, by its id, and the module and the line that break it."""


def test_every_wall_has_a_breach() -> None:
    """Each contract is tried below: one that forbids nothing would pass unseen."""
    assert {contract["id"] for contract in contracts()} == {contract for contract, _, _ in BREACHES}


@pytest.mark.parametrize(("contract", "module", "line"), BREACHES)
def test_a_breach_is_seen(tmp_path: Path, contract: str, module: str, line: str) -> None:
    """One forbidden import in a copy of the package breaks the contract that forbids it."""
    copy = tmp_path / "roadworthy"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "annex.py").write_text('"""A room that no contract names."""\n')
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    if module == "layer/_annex.py":
        with (copy / "layer" / "rate_limiting.py").open("a") as file:
            file.write("\nfrom . import _annex\n")
    done = check_walls(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    (name,) = (each["name"] for each in contracts() if each["id"] == contract)
    assert f"{name} BROKEN" in done.stdout, done.stdout


def import_graph(source: Path) -> dict[str, set[str]]:
    """Return which modules of ours each module of ours imports while it is imported itself."""
    files: dict[str, Path] = {}
    for path in (source / "roadworthy").rglob("*.py"):
        parts = path.relative_to(source).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        place = f"{module}.__init__" if path.name == "__init__.py" else module
        imported = set(eager_imports(path.read_text(), place, names=True))
        # A name that is no module stands in the module in front of it.
        found = {name if name in files else name.rpartition(".")[0] for name in imported}
        graph[module] = (found & files.keys()) - {module}
    return graph


def circle(source: Path) -> list[str]:
    """Return the modules of an import circle, the first of them again at the end; none without one."""
    try:
        TopologicalSorter(import_graph(source)).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Every module can be understood, and imported, after those that it imports."""
    assert circle(PACKAGE.parent) == []


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("from .two import name", True),
        ("from . import two", True),
        ("import roadworthy.two", True),
        ("from roadworthy.two import name", True),
        ("def late():\n    from .two import name", False),
        ("if TYPE_CHECKING:\n    from .two import name", False),
    ],
)
def test_a_circle_is_seen(tmp_path: Path, line: str, seen: bool) -> None:
    """An import back closes a circle, unless it waits for a call or is for types alone."""
    folder = tmp_path / "roadworthy"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text(f"{line}\n")
    (folder / "two.py").write_text("from . import one\nname = 1\n")
    assert bool(circle(tmp_path)) is seen


_BY_STRING = re.compile(r"""(import_module|sys\.modules(\.get|\.pop)?)[(\[]\s*f?["']roadworthy""")


def test_no_room_is_imported_by_a_string() -> None:
    """No contract sees a module of ours that is named by a string, so none is."""
    found = [path for path in PACKAGE.rglob("*.py") if _BY_STRING.search(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        'sys.modules.get("roadworthy.layer")',
        "sys.modules['roadworthy.layer']",
        'import_module(f"roadworthy.{room}")',
        'importlib.import_module(\n    "roadworthy.layer"\n)',
    ],
)
def test_an_import_by_a_string_is_seen(line: str) -> None:
    """The ways to reach a module by its name are found."""
    assert _BY_STRING.search(line)


BROUGHT = {
    "anyio": "the app brings it; it is looked at when somebody has imported it",
    "asgiref": "Django brings it",
    "django": "the app brings it",
    "httpx": "the app brings it, as a client among its resources",
    "litestar": "the app brings it",
    "starlette": "the app brings it, alone or with FastAPI",
}
"""What is imported only beside an app that is made with it, and so is no dependency of ours."""


def imported_packages(text: str) -> set[str]:
    """Return the top-level names of others that a module imports, at any time, also by a constant name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                found.update(alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module)
            case ast.Call(func=ast.Name("import_module"), args=[ast.Constant(value=str(module)), *_]):
                found.add(module)
            case _:
                pass
    tops = {name.partition(".")[0] for name in found if not name.startswith(".")}
    return tops - sys.stdlib_module_names - {"roadworthy"}


def normal(name: str) -> str:
    """Return the name of a distribution as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """Return the names of the distributions that the package depends on, extras included."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return {normal(re.split(r"[^\w.-]", line)[0]) for lines in lists for line in lines}


def test_every_import_of_others_is_declared() -> None:
    """What the package imports is a dependency, in an extra, or brought by the app it is imported for."""
    imported = {
        name
        for path in PACKAGE.rglob("*.py")
        for name in imported_packages(path.read_text()) - BROUGHT.keys()
    }
    homes = packages_distributions()
    undeclared = {name for name in imported if not {normal(home) for home in homes[name]} & declared()}
    assert undeclared == set()


def test_an_import_of_others_is_seen() -> None:
    """Imports are found wherever they stand and however they are written; ours and Python's are not meant."""
    text = (
        "import os, one.part\nfrom two.part import x\nfrom . import ours\nimport roadworthy.layer\n"
        "def late():\n    import three\n    import_module('four.part')\n    import_module('.ours', 'a')\n"
    )
    assert imported_packages(text) == {"one", "two", "three", "four"}


def test_a_command_imports_its_room_when_it_is_called() -> None:
    """Importing the command line loads the standard library, Typer and its own modules; no room yet."""
    assert heavy_imports(PACKAGE.parent) == set()


@pytest.mark.parametrize(
    ("line", "heavy"),
    [
        ("from ..layer import roadworthy", "roadworthy.layer"),
        ("from .. import settings", "roadworthy.settings"),
        ("import roadworthy.checklist as c", "roadworthy.checklist"),
        ("import rich.table", "rich.table"),
        ("class A:\n    import uvicorn", "uvicorn"),
        ("try:\n    import uvicorn\nexcept ImportError:\n    pass", "uvicorn"),
        ("import typer, json\nfrom . import command", None),
        ("def run():\n    from ..server import serve", None),
        ("if TYPE_CHECKING:\n    from ..settings import Settings", None),
        ("def run():\n    from .late import x", None),
    ],
)
def test_an_eager_import_of_a_room_is_seen(tmp_path: Path, line: str, heavy: str | None) -> None:
    """An import that runs with the command line is told from one that waits for the command."""
    folder = tmp_path / "roadworthy" / "cli"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from .command import run\n")
    (folder / "command.py").write_text(f"{line}\n")
    (folder / "late.py").write_text("import uvicorn\n")
    assert heavy_imports(tmp_path) == ({("roadworthy.cli.command", heavy)} if heavy else set())
