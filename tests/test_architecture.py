"""The walls between the rooms: what may import what (ARCHITECTURE.md), and proof that a breach is seen."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
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


def eager_imports(text: str, module: str) -> Iterator[str]:
    """Yield what ``module`` imports when it is imported itself: outside functions and type checking."""
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
            yield from ([base] if node.module else (f"{base}.{alias.name}" for alias in node.names))
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


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        ("The checklist imports", "checklist/items.py", "from .. import errors"),
        ("Settings, errors and types", "errors.py", "from .layer import routes"),
        ("The layer imports", "layer/exchange.py", "from .. import server"),
        ("The layer imports", "layer/cors.py", "def late() -> None:\n    from .. import patterns"),
        ("The layer imports", "layer/cors.py", "from .. import annex"),
        ("Items of the layer", "layer/cors.py", "from . import rate_limiting"),
        ("Items of the layer", "layer/_annex.py", "from . import metrics\nfrom . import cors"),
        ("The server imports", "server/__init__.py", "from .. import patterns"),
        ("What a service's own code", "patterns/__init__.py", "from .. import server"),
        ("Nothing imports the command line", "server/__init__.py", "from .. import cli"),
        ("Rooms do not import", "layer/cors.py", "import roadworthy"),
    ],
)
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
    broken = [text for text in done.stdout.splitlines() if " BROKEN" in text]
    assert any(text.startswith(contract) for text in broken), done.stdout


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
