"""A plugin of the suite's own process: tells the proxy in front of the service which test comes now."""

from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

__all__ = ("CONTROL", "pytest_runtest_setup")

CONTROL = "/__current_test"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say the name, without parameters."""
    name = item.name.partition("[")[0]
    connection = HTTPConnection(urlsplit(item.config.getoption("--base-url")).netloc)
    connection.request("POST", CONTROL, name)
    connection.getresponse().read()
    connection.close()
