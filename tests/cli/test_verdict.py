"""`run` and `config` refuse the same settings with the same text, and all mistakes at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roadworthy.cli.config import effective_settings
from roadworthy.cli.run import layered
from roadworthy.settings import PREFIX, WELL_KNOWN, Rate, Settings, SettingsError, set_flags
from tests.server.service import command

APP = "async def app(scope, receive, send): ...\n"
CANARY = "Canary7f3a91"

WRONG = {
    "allowed_hosts": "http://x", "body_limit": "big", "compression": "perhaps", "cors_credentials": "perhaps",
    "cors_expose": "a b", "cors_headers": "a b", "cors_max_age": "soon", "cors_methods": "a b",
    "cors_origins": "app.example", "csp": "a\nb", "database_url": "postgresql://u:postgres@db/x",
    "env": "prodution", "error_format": "xml", "forwarded_header": "via", "grace": "-1", "header_count": "0",
    "host": "x86_64-conda-linux-gnu", "hsts": "soon", "log_format": "xml", "log_level": "loud",
    "log_redact": "--", "metrics_public": "true", "metrics_series": "1", "metrics_token": "hunter2",
    "offload": "dask://203.0.113.9:8786", "offload_tls_ca": "/nowhere.pem",
    "offload_tls_cert": "/nowhere.crt", "offload_tls_key": "/nowhere.key", "offload_workers": "0",
    "ops_host": "203.0.113.77", "ops_port": "http://x",
    "ops_token": "hunter2", "port": "70000", "rate_limit": "many", "rate_limit_keys": "1", "redis_url": "http://x",
    "root_path": "api/",
    "referrer_policy": "a\nb", "tls_cert": "/nowhere.pem", "tls_key": "/nowhere.key",
    "trusted_proxies": "::/0", "worker_group": "../x", "worker_timeout": "0", "workers": "0",
}  # fmt: skip
"""Setting -> a value that a start refuses."""


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Start in a folder with an app, without any variable that settings read."""
    for name in list(os.environ):
        if name.startswith(PREFIX) or name in WELL_KNOWN.values():
            monkeypatch.delenv(name)
    (tmp_path / "main.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    set_flags({})
    sys.modules.pop("main", None)


def verdict(command: Callable[[], object]) -> str:
    """Return what a command refuses settings with, or nothing."""
    sys.modules.pop("main", None)
    try:
        command()
    except SettingsError as error:
        return str(error)
    return ""


def both() -> str:
    """Return the verdict of `run`, which is that of both forms of `config`."""
    found = verdict(lambda: layered("main:app"))
    assert verdict(lambda: effective_settings(None)) == found
    assert verdict(lambda: effective_settings("main:app")) == found
    return found


@pytest.mark.parametrize("field", sorted(WRONG))
def test_both_refuse_a_setting_by_the_variable_that_was_set(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    """For each setting: both commands have one verdict, with the variable's name and without its value."""
    monkeypatch.setenv(PREFIX + field.upper(), WRONG[field])
    found = both()
    # A contradiction is reported at the setting that is missing.
    named = "metrics_token" if field == "metrics_public" else field
    assert PREFIX + named.upper() in found
    assert len(WRONG[field]) < 4 or WRONG[field] not in found.replace(f"; the nearest is {WRONG[field]}", "")


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_both_accept_the_defaults_written_out(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """Each default, written as a variable, is accepted by both."""
    value = Settings.model_fields[field].default
    reveal = getattr(value, "get_secret_value", None)
    text = (
        ",".join(value)
        if isinstance(value, tuple) and not isinstance(value, Rate)
        else str(reveal() if reveal else value)
    )
    monkeypatch.setenv(PREFIX + field.upper(), "" if value is None else text)
    assert both() == ""


MISTAKES = {
    "wrong type": ("ROADWORTHY_BODY_LIMIT", CANARY, "a size is bytes"),
    "out of range": ("ROADWORTHY_WORKERS", "9999", "from 1 to 512"),
    "weak secret": ("ROADWORTHY_OPS_TOKEN", "hunter2", "is shorter than 16 characters"),
    "contradiction": ("ROADWORTHY_TLS_KEY", "k.pem", "needs tls_cert"),
    "unknown name": ("ROADWORTHY_PROT", CANARY, "there is no such setting"),
    "well-known": ("LOG_LEVEL", CANARY, "expected one of debug"),
}


@pytest.mark.parametrize("source", ["variable", ".env"])
@pytest.mark.parametrize("first", sorted(MISTAKES))
@pytest.mark.parametrize("second", sorted(MISTAKES))
def test_every_two_mistakes_are_reported_together(
    monkeypatch: pytest.MonkeyPatch, source: str, first: str, second: str
) -> None:
    """No kind of mistake hides another, wherever both stand, and a flag's and a file's stand beside them."""
    lines = 'ROADWORTHY_CSP="open\n'
    for name, value, _ in {MISTAKES[first], MISTAKES[second]}:
        if source == "variable":
            monkeypatch.setenv(name, value)
        else:
            lines += f"{name}={value}\n"
    Path(".env").write_text(lines)
    set_flags({"drain_delay": "soon"})
    found = both()
    assert ".env line 1: a quote is not closed" in found
    assert "--drain-delay: a duration is seconds" in found
    for name, value, said in (MISTAKES[first], MISTAKES[second]):
        assert any(name in line and said in line for line in found.splitlines()), found
        assert value not in found


def test_a_weak_secret_a_foreign_host_and_a_bad_origin_are_reported_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values of the right type that cannot be served have one list, too."""
    wrong = {"HOST": "203.0.113.77", "ROADWORTHY_OPS_TOKEN": "hunter2", "REDIS_URL": "http://x",
             "ROADWORTHY_CORS_ORIGINS": "a.example", "ROADWORTHY_TLS_CERT": "/nowhere.pem"}  # fmt: skip
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    found = both()
    assert found.startswith("5 settings are wrong:")
    assert all(f"  {name}: " in found and value not in found for name, value in wrong.items())


@pytest.mark.parametrize(
    "links",
    [
        {"OPS_PORT": "tcp://10.0.0.7:9464", "OPS_SERVICE_HOST": "10.0.0.7"},
        {"ROADWORTHY_PORT": "tcp://10.0.0.7:80"},
        {"ROADWORTHY_SERVICE_HOST": "10.0.0.7", "ROADWORTHY_SERVICE_PORT": "80",
         "ROADWORTHY_SERVICE_PORT_HTTP": "80"},
        {"ROADWORTHY_PORT_9464_TCP": "tcp://10.0.0.7:9464", "ROADWORTHY_PORT_9464_TCP_ADDR": "10.0.0.7",
         "ROADWORTHY_PORT_9464_TCP_PORT": "9464", "ROADWORTHY_PORT_9464_TCP_PROTO": "tcp"},
        {"ROADWORTHY_SHOP_SERVICE_HOST": "fd00::7", "ROADWORTHY_SHOP_PORT": "udp://[fd00::7]:53"},
    ],
)  # fmt: skip
def test_links_of_kubernetes_services_are_named_as_such(
    monkeypatch: pytest.MonkeyPatch, links: dict[str, str]
) -> None:
    """A Service called `ops` or `roadworthy` is one mistake with every variable, the cause and the remedy."""
    for name, value in links.items():
        monkeypatch.setenv(name, value)
    found = both()
    assert found.startswith("1 setting is wrong:")
    assert "Kubernetes" in found
    assert "enableServiceLinks: false" in found
    assert all(name in found for name in links if name != "OPS_SERVICE_HOST")
    assert "10.0.0.7" not in found


def test_a_wrong_port_is_no_link_of_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes is blamed for nothing that it does not write."""
    monkeypatch.setenv("OPS_PORT", "http://10.0.0.7")
    monkeypatch.setenv("ROADWORTHY_SERVICE_HOST", CANARY)
    assert "Kubernetes" not in both()


def test_both_commands_end_with_two_and_one_text(tmp_path: Path) -> None:
    """The exit code and standard error of the real commands are the same, with one worker and with two."""
    env = {"ROADWORTHY_OPS_TOKEN": "hunter2", "HOST": "fe80::1"}
    shown = command("config", cwd=tmp_path, env=env)
    assert shown.returncode == 2
    assert "HOST: is a link-local address" in shown.stderr
    for workers in ("1", "2"):
        done = command("run", "main:app", cwd=tmp_path, env={**env, "WEB_CONCURRENCY": workers})
        assert (done.returncode, done.stderr) == (2, shown.stderr)
