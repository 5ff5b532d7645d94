import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roadworthy.checklist import ASSERTIONS, ITEMS, Item
from roadworthy.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "checklist"
VARIABLES = {PREFIX + name.upper() for name in Settings.model_fields}

each_item = pytest.mark.parametrize("entry", ITEMS, ids=lambda entry: entry.id)


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script on the documentation below ``root``."""
    script = ROOT / "scripts" / "generate_docs.py"
    command = [sys.executable, str(script), "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Make an up-to-date copy of the documentation that a test may spoil."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    guide = ROOT / "examples" / "guide"
    for page in (guide / "README.md", *guide.glob("*/README.md")):
        copied = tmp_path / page.relative_to(ROOT)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(page, copied)
    generate(tmp_path)
    return tmp_path


def test_the_generated_parts_are_up_to_date() -> None:
    """Tables in the documentation say what the code says."""
    done = generate(ROOT, "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_stale_page_is_shown_and_left_alone(copy: Path) -> None:
    """A page that differs from the code is status 1 with the difference, and a check writes nothing."""
    page = copy / "docs" / "checklist" / "cors.md"
    changed = page.read_text().replace("| COR-1 | critical |", "| COR-1 | low |")
    page.write_text(changed)
    done = generate(copy, "--check")
    assert done.returncode == 1
    assert "--- docs/checklist/cors.md\n" in done.stdout
    assert re.search(r"^-\| COR-1 \| low \|.*\n\+\| COR-1 \| critical \|", done.stdout, re.MULTILINE)
    assert "python scripts/generate_docs.py" in done.stderr
    assert page.read_text() == changed


def test_writing_repairs_a_stale_page_only(copy: Path) -> None:
    """A run without the option brings the page up to date and names what it wrote."""
    page = copy / "docs" / "settings.md"
    right = page.read_text()
    page.write_text(right.replace("`ROADWORTHY_GRACE`", "`ROADWORTHY_GRAZE`"))
    assert generate(copy).stdout == "wrote docs/settings.md\n"
    assert page.read_text() == right
    assert generate(copy, "--check").returncode == 0


def test_a_page_without_its_markers_is_refused(copy: Path) -> None:
    """A lost marker is an error that names the page and the line to put in."""
    page = copy / "docs" / "checklist" / "metrics.md"
    page.write_text(page.read_text().replace("<!-- end: assertions -->", ""))
    done = generate(copy, "--check")
    assert done.returncode == 2
    assert "docs/checklist/metrics.md" in done.stderr
    assert "<!-- end: assertions -->" in done.stderr


def test_a_missing_page_is_refused(copy: Path) -> None:
    """A page that is not there is an error that names it."""
    (copy / "docs" / "checklist" / "logging.md").unlink()
    done = generate(copy, "--check")
    assert done.returncode == 2
    assert "docs/checklist/logging.md" in done.stderr


@each_item
def test_a_page_has_the_common_headings(entry: Item) -> None:
    """Every page answers the same four questions in the same order, and none is left empty."""
    text = (PAGES / f"{entry.id}.md").read_text()
    text = re.sub(r"^```.*?^```$", "code", text, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^(##? .+)\n", text, flags=re.MULTILINE)
    assert parts[1::2] == [
        f"# {entry.title}",
        "## What",
        "## Why",
        "## With the layer",
        "## What is promised",
    ]
    assert all(part.strip() for part in parts[4::2])
    # Further sections are about what the layer does.
    assert all("\n### " not in part for part in (parts[4], parts[6], parts[10]))


@each_item
def test_a_page_names_settings_that_exist(entry: Item) -> None:
    """A page names the settings that concern its item, all of them by their right name."""
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+", (PAGES / f"{entry.id}.md").read_text()))
    assert named
    assert named - VARIABLES == set()


def test_every_setting_is_on_a_page() -> None:
    """Whoever meets a setting finds the item or the pattern that it belongs to."""
    text = "".join((PAGES / f"{entry.id}.md").read_text() for entry in ITEMS)
    text += (ROOT / "docs" / "patterns.md").read_text()
    assert [name for name in sorted(VARIABLES) if f"`{name}`" not in text] == []


def test_every_assertion_is_on_a_page_once() -> None:
    """Each promise stands in the table of exactly one page."""
    text = "".join(page.read_text() for page in PAGES.glob("*.md"))
    assert [entry.id for entry in ASSERTIONS if text.count(f"\n| {entry.id} |") != 1] == []


def test_the_recipe_names_files_that_exist() -> None:
    """Every file that CONTRIBUTING.md tells one to open is there, its example item aside."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:md|toml))`", text))
    assert len(named) > 10
    made = {path for path in named if "request_signing" in path or "request-signing" in path}
    assert len(made) == 7
    # Written by `make proof` and `make bench`.
    results = {"docs/proofs.md", "benchmarks/results"}
    assert [path for path in sorted(named - made - results) if not (ROOT / path).exists()] == []
