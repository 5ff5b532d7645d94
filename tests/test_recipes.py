"""The recipes of CONTRIBUTING.md: a step that is left out fails a test, here or where the recipe says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import get_args, get_type_hints

import pytest

from roadworthy import roadworthy
from roadworthy.checker.manifest.model import Database as DatabaseTable
from roadworthy.checker.registry import PROBES
from roadworthy.checker.store.kinds import PORTS, SCHEMES
from roadworthy.checklist import ASSERTIONS, ITEMS
from roadworthy.cli.check import FORMATS
from roadworthy.cli.run import run
from roadworthy.patterns import Database
from roadworthy.settings import Settings
from tests.checker.sample_run import sample_run
from tests.conformance.conftest import APPS
from tests.twins import TWINS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "roadworthy"
_GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
_RECIPES = dict(re.findall(r"^## (Add [^\n]+)\n(.+?)(?=^## )", _GUIDE, re.MULTILINE | re.DOTALL))
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_DETECT = """
import sys
from importlib import import_module
from roadworthy.layer.frameworks import detect
for target in sys.argv[1:]:
    module, _, name = target.partition(":")
    print(type(detect(getattr(import_module(module), name))).__module__.rpartition(".")[2])
"""
_URLS = {"postgres": "postgresql://db/data", "sqlite": "sqlite:///data.db"}
"""A URL for each kind of database that units of work can have."""


def _modules(folder: str) -> set[str]:
    """Return the modules of a folder of the package that have no underscore."""
    return {path.stem for path in (SOURCE / folder).glob("[!_]*.py")}


def test_each_kind_of_extension_has_a_recipe() -> None:
    """Six things can be added by recipe."""
    assert list(_RECIPES) == [
        "Add a checklist item",
        "Add a promise",
        "Add a setting",
        "Add a framework",
        "Add a report format",
        "Add a kind of database",
    ]


@pytest.mark.parametrize("title", _RECIPES)
def test_a_recipe_names_tests_that_exist(title: str) -> None:
    """Each recipe names the tests that guard its steps, and each of them is there."""
    named = _TEST.findall(_RECIPES[title])
    assert named
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        found = {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in found, f"{path} has no {name}"


def test_every_item_acts_in_the_pass() -> None:
    """The layer's pipeline holds an object of each item's module; the environment acts at the start alone."""
    from tests.apps import raw_asgi

    held = {
        type(part).__module__.rpartition(".")[2]
        for part in vars(roadworthy(raw_asgi.create()).pass_).values()
    }
    assert {item.id.replace("-", "_") for item in ITEMS} - held == {"environment"}


def test_every_item_has_a_row_in_the_readme() -> None:
    """The README's table links to the page of each item, in the order of the checklist."""
    rows = re.findall(
        r"^\| \[[^]]+\]\(docs/checklist/([\w-]+)\.md\) \|", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert rows == [item.id for item in ITEMS]


def test_every_setting_is_read() -> None:
    """Some module asks for each setting: one of the layer, the server or the patterns, or a service."""
    files = [path for path in SOURCE.rglob("*.py") if path.parent.name != "settings"]
    files += (ROOT / "examples" / "reference" / "reference").glob("*.py")
    text = "".join(path.read_text() for path in files)
    asked = {
        *re.findall(r"\.(\w+)", text),
        *(name.lower() for name in re.findall(r"ROADWORTHY_(\w+)\"", text)),
    }
    assert set(Settings.model_fields) - asked == set()


def test_every_flag_is_a_setting() -> None:
    """What `run` takes has the name of the setting that it sets, `target` and `reload` aside."""
    assert set(signature(run).parameters) - {"target", "reload"} <= set(Settings.model_fields)


def test_every_assertion_has_a_probe() -> None:
    """Each promise is tried by a probe."""
    assert set(PROBES) == {assertion.id for assertion in ASSERTIONS}


def test_every_fault_of_a_twin_is_switched_somewhere() -> None:
    """The zoo's service names each fault, except where a twin differs by its manifest alone."""
    zoo = (ROOT / "tests" / "zoo").rglob("*.py")
    asked = set(re.findall(r"""["']([\w-]+)["']""", "".join(path.read_text() for path in zoo)))
    faults = [twin.fault for twin in TWINS if not twin.replace]
    assert [fault for fault in faults if asked.isdisjoint(fault.split(","))] == []


def test_every_adapter_is_found_and_tried() -> None:
    """Each adapter is detected for an app of the conformance matrix, and has tests of its own."""
    adapters = _modules("layer/frameworks")
    # In a process of its own: Django can be configured once in a process.
    done = subprocess.run(
        [sys.executable, "-c", _DETECT, *APPS.values()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == adapters
    tests = ROOT / "tests" / "layer" / "frameworks"
    assert [name for name in sorted(adapters) if not (tests / f"test_{name}.py").is_file()] == []


def test_every_report_can_be_asked_for(tmp_path: Path) -> None:
    """Each module of reports is a format of the command line, is in docs/check.md, and writes a file."""
    assert {"terminal" if name == "text" else name for name in FORMATS} == _modules("checker/report")
    page = (ROOT / "docs" / "check.md").read_text()
    for name in FORMATS:
        module: ModuleType = import_module(
            f"roadworthy.checker.report.{'terminal' if name == 'text' else name}"
        )
        module.write(sample_run(), tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0
        assert f"`{name}`" in page


def test_every_report_is_read_back() -> None:
    """The tests of the reports write each format."""
    text = (ROOT / "tests" / "checker" / "test_reports.py").read_text()
    written = set(re.findall(r"\b(\w+?)(?:_report)?\.(?:write|document)\(", text))
    assert _modules("checker/report") - written == set()


def test_every_backend_has_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each module with a backend is what `Database` takes for a URL of its kind."""
    monkeypatch.chdir(tmp_path)
    backends = {
        path.stem
        for path in (SOURCE / "patterns" / "stores").glob("*.py")
        if re.search(r"^class \w+Backend\b(?!\(Protocol)", path.read_text(), re.MULTILINE)
    }
    assert backends == set(_URLS)
    for kind, url in _URLS.items():
        assert type(Database(url).backend).__module__.rpartition(".")[2] == kind


def test_the_checker_knows_the_kinds_that_a_manifest_may_name() -> None:
    """Each kind is documented and has a URL scheme, and a port if it is a server."""
    named = set(get_args(get_type_hints(DatabaseTable)["kind"])) - {"", "none", "tcp"}
    page = (ROOT / "docs" / "check.md").read_text()
    assert [kind for kind in sorted(named) if f'"{kind}"' not in page] == []
    assert named == set(SCHEMES.values())
    assert named == {*PORTS, "sqlite"}
    assert set(_URLS) <= named
