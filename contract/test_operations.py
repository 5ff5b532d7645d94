"""Health answers, and the routes that misbehave on purpose."""

import pytest

from .api import Api

# What the message of the exception that /api/_fail raises begins with, in every implementation.
_CANARY = "canary"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/livez", marks=pytest.mark.row("GET /livez")),
        pytest.param("/readyz", marks=pytest.mark.row("GET /readyz")),
    ],
)
def test_health(api: Api, path: str) -> None:
    """A service that answers this suite is alive and ready, and says so in few words to everybody."""
    answer = api.send("GET", path)
    assert answer.status_code == 200
    assert len(answer.content) < 512


def test_probe_routes(api: Api, pytestconfig: pytest.Config) -> None:
    """The production entry point has no probe routes."""
    if pytestconfig.getoption("--probe"):
        pytest.skip("this is the probe entry point")
    for path in ("/api/_slow?seconds=0", "/api/_fail", "/api/_stream?events=1&interval=0"):
        api.refused(api.send("GET", path), 404, "NOT_FOUND")


def test_failure(api: Api, pytestconfig: pytest.Config) -> None:
    """An unhandled exception is 500 in the same shape, and its text stays inside."""
    if not pytestconfig.getoption("--probe"):
        pytest.skip("only the probe entry point (--probe) has a route that fails")
    answer = api.send("GET", "/api/_fail")
    api.refused(answer, 500, "INTERNAL_ERROR", "Internal Server Error")
    for trace in (_CANARY, "Traceback", "RuntimeError", ".py"):
        assert trace not in answer.text


def test_stream(api: Api, pytestconfig: pytest.Config) -> None:
    """The probe entry point streams as many server-sent events as it was asked for."""
    if not pytestconfig.getoption("--probe"):
        pytest.skip("only the probe entry point (--probe) has a stream")
    answer = api.send("GET", "/api/_stream?events=3&interval=0.01")
    assert answer.headers["Content-Type"].partition(";")[0] == "text/event-stream"
    assert answer.text.count("data:") == 3


def test_slow(api: Api, pytestconfig: pytest.Config) -> None:
    """The probe entry point answers after the seconds that it was asked for."""
    if not pytestconfig.getoption("--probe"):
        pytest.skip("only the probe entry point (--probe) has a slow route")
    answer = api.send("GET", "/api/_slow?seconds=0.2")
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= 0.2
