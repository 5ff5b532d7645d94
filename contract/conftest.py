"""How the suite is pointed at a service: ``python -m pytest contract --base-url http://127.0.0.1:8000``."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.register_assert_rewrite("contract.api")  # before it is imported: its assertions say what they saw

from .api import Api  # noqa: E402
from .rows import ROWS, open_rows  # noqa: E402

_OPEN = pytest.StashKey[tuple[str, ...]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the suite."""
    group = parser.getgroup("contract")
    group.addoption("--base-url", help="where the service under test listens, such as http://127.0.0.1:8000")
    group.addoption(
        "--error-format",
        choices=("problem", "envelope"),
        default="problem",
        help="the shape of errors that the service is configured for",
    )
    group.addoption("--complete", action="store_true", help="rows that are not there yet are failures")
    group.addoption("--probe", action="store_true", help="the service was started by its probe entry point")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run without a service, and register the marker."""
    config.addinivalue_line("markers", "row(name): the test is about this row of the contract")
    if not config.getoption("--base-url"):
        raise pytest.UsageError("say which service to test: --base-url http://127.0.0.1:8000")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a row that the contract does not have: its tests would never be skipped."""
    known = {row.name for row in ROWS}
    for item in items:
        for marker in item.iter_markers("row"):
            if marker.args[0] not in known:
                raise pytest.UsageError(f"{item.nodeid}: {marker.args[0]} is no row of the contract")


@pytest.fixture(scope="session")
def api(pytestconfig: pytest.Config) -> Iterator[Api]:
    """The service under test."""
    base_url: Any = pytestconfig.getoption("--base-url")
    error_format: Any = pytestconfig.getoption("--error-format")
    with Api(base_url, error_format) as api:
        try:
            pytestconfig.stash[_OPEN] = open_rows(api)
        except httpx.TransportError as error:
            pytest.exit(f"no service answers at {api.base_url}: {error}", returncode=4)
        yield api


@pytest.fixture(autouse=True)
def _row(request: pytest.FixtureRequest, api: Api) -> None:
    missing = request.config.stash[_OPEN]
    for marker in request.node.iter_markers("row"):
        if marker.args[0] in missing:
            say = pytest.fail if request.config.getoption("--complete") else pytest.skip
            say(f"not there yet: {marker.args[0]}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which rows of the contract the service has, and name those that it has not."""
    missing = config.stash.get(_OPEN, None)
    if missing is None:
        return
    terminalreporter.section("contract")
    terminalreporter.line(f"{len(ROWS) - len(missing)} of {len(ROWS)} rows are served")
    for name in missing:
        terminalreporter.line(f"not there yet: {name}")
