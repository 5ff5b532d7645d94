"""docs/scaling.md: what it shows is what the service reads, counts and says."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from roadworthy.patterns.stores.postgres_start import Capacity, parsed_url
from roadworthy.settings import load_settings
from roadworthy.settings.masking import masked_settings

from .hosts.site import block_of_the_docs, settings_of_the_docs

_ROOM: dict[str, Any] = {"most": 100, "reserved": 3, "of_user": -1, "of_database": -1}
"""What a server gives that is as it was installed."""


def test_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of one machine are settings, and fit into the server."""
    for name, value in settings_of_the_docs().items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    capacity = Capacity(settings.pool_size, settings.workers, settings.instances)
    assert capacity == Capacity(5, 2, 3)
    capacity.check(_ROOM)


def test_the_arithmetic_is_right(caplog: pytest.LogCaptureFixture) -> None:
    """The sums are sums, and the warning is what a service logs."""
    sums = re.findall(
        r"(\d+) x +(\d+) x +(\d+) += +(\d+) of 97(: too many)?", block_of_the_docs("arithmetic")
    )
    assert len(sums) == 2
    for workers, size, instances, total, too_many in sums:
        assert int(workers) * int(size) * int(instances) == int(total)
        assert (int(total) > 97) == bool(too_many)
    with caplog.at_level(logging.WARNING):
        Capacity(10, 4, 3).check(_ROOM)
    assert caplog.messages == [block_of_the_docs("warning").strip()]


def test_replicas_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URLs of two replicas are two, and shown without their passwords."""
    for name, value in settings_of_the_docs("replicas").items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert [url.get_secret_value().split("@")[1] for url in settings.database_replica_urls] == [
        "10.0.0.51/app",
        "10.0.0.52/app",
    ]
    assert settings.replica_lag == 10
    shown = masked_settings(settings)["database_replica_urls"]
    assert shown == ["postgresql://app:***@10.0.0.51/app", "postgresql://app:***@10.0.0.52/app"]


def test_a_standby_is_named() -> None:
    """The URL with two hosts is tried host by host, for the primary."""
    url = settings_of_the_docs("standby")["DATABASE_URL"]
    assert parsed_url(url).texts == (
        "postgresql://app:password@10.0.0.50/app?target_session_attrs=primary",
        "postgresql://app:password@10.0.0.51/app?target_session_attrs=primary",
    )
