"""A plugin of the suite's own process: tells the proxy in front of the service which test comes now."""

import httpx
import pytest

__all__ = ("CONTROL", "pytest_runtest_setup")

CONTROL = "/__current_test"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say the name, without parameters."""
    name = item.name.partition("[")[0]
    httpx.post(f"{item.config.getoption('--base-url')}{CONTROL}", content=name, trust_env=False)
