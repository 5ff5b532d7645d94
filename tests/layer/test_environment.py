"""Weak secrets: refused in production, told in development."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import SecretBytes, SecretStr

from roadworthy.layer.environment import Environment
from roadworthy.settings import Settings, SettingsError, load_settings

STRONG = "q7Zr-2mXw9_LtB4vKe0s"


class Shop(Settings):
    """A service's settings with secrets of its own."""

    session_secret: SecretStr = SecretStr(STRONG)
    signing_key: SecretBytes = SecretBytes(STRONG.encode())
    broker_url: SecretStr = SecretStr(f"amqp://user:{STRONG}@queue/")


def made(env: str = "production", **values: Any) -> Shop:
    """Return settings that read no file."""
    return load_settings(Shop, _env_file=None, env=env, **values)


def test_strong_secrets_pass() -> None:
    """Random tokens, and URLs with passwords of their own, start in production."""
    environment = Environment(made(metrics_token=STRONG))
    environment.check()
    assert environment.problems == ()


@pytest.mark.parametrize(
    "secret",
    [
        "", "k7#pQ2", "changeme", "changemechangeme", "CHANGE_ME-please", "my-super-secret-key-2024",
        "your-secret-key-here", "django-insecure-8f2k1l0s9d8f7g6h5j4k3l", "aaaaaaaaaaaaaaaaaaaaaaaa",
        "ababababababababababab", "xxxxxxxxxxxxxxxxxxxxxxxx", "1234567890123456"[:8] * 2, "password12345678",
    ],
)  # fmt: skip
def test_weak_tokens_are_refused_by_name(secret: str) -> None:
    """Empty, short, repeated and copied secrets stop the start, and the message does not repeat them."""
    with pytest.raises(SettingsError) as caught:
        Environment(made(session_secret=secret)).check()
    assert [problem.name for problem in caught.value.problems] == ["ROADWORTHY_SESSION_SECRET"]
    assert not secret or secret not in str(caught.value)


def test_all_weak_secrets_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is named by the variable that was set, in one list."""
    monkeypatch.setenv("SESSION_SECRET", "secret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres:postgres@db/shop")
    with pytest.raises(SettingsError) as caught:
        Environment(made(signing_key=b"x", metrics_token="token")).check()
    assert {problem.name for problem in caught.value.problems} == {
        "SESSION_SECRET", "DATABASE_URL", "ROADWORTHY_SIGNING_KEY", "ROADWORTHY_METRICS_TOKEN",
    }  # fmt: skip


@pytest.mark.parametrize("url", ["postgresql://app:k3yz@db/shop", "postgresql://db/shop", "sqlite:///./x.db"])
def test_urls_are_refused_for_default_passwords_only(url: str) -> None:
    """A URL without a password, or with a short one of its own, is accepted."""
    assert Environment(made(database_url=url, broker_url=url)).problems == ()


@pytest.mark.parametrize("password", ["postgres", "admin", "changeme", "p%61ssword"])
def test_urls_with_default_passwords_are_refused(password: str) -> None:
    """A well-known password is found in a URL, percent-encoded too."""
    with pytest.raises(SettingsError, match=r"^1 setting is wrong:\n  ROADWORTHY_BROKER_URL: its password"):
        Environment(made(broker_url=f"amqp://app:{password}@queue/")).check()


def test_development_is_warned_and_tests_are_not(caplog: pytest.LogCaptureFixture) -> None:
    """Outside production weak secrets start; development is told once for each, without the value."""
    with caplog.at_level(logging.WARNING):
        Environment(made("test", session_secret="hunter2")).check()
        assert caplog.text == ""
        Environment(made("development", session_secret="hunter2")).check()
    assert "ROADWORTHY_SESSION_SECRET" in caplog.text
    assert "hunter2" not in caplog.text
