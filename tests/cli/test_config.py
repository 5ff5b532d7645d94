"""`roadworthy config`: effective settings, masked, with their sources."""

from __future__ import annotations

import json
from pathlib import Path

from tests.server.service import command

CANARY = "Canary-7f3a91-must-not-appear"


def test_json_has_values_and_sources(tmp_path: Path) -> None:
    """Each setting has its value and the variable, file or default that gave it."""
    (tmp_path / ".env").write_text("ROADWORTHY_RATE_LIMIT=5/second\nPORT=1\n")
    done = command("config", "--json", cwd=tmp_path, env={"PORT": "9000"})
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown["port"] == {"value": 9000, "source": "PORT"}
    assert shown["rate_limit"] == {"value": "5/second", "source": "ROADWORTHY_RATE_LIMIT in .env"}
    assert shown["host"] == {"value": "127.0.0.1", "source": "default"}


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Secrets are masked in both forms, an app's own included."""
    (tmp_path / "main.py").write_text(
        "from pydantic import SecretStr\n"
        "from roadworthy import roadworthy, Settings\n"
        "class Shop(Settings):\n    stripe_key: SecretStr\n"
        "async def inner(scope, receive, send): ...\n"
        "app = roadworthy(inner, settings=Shop())\n"
    )
    env = {
        "DATABASE_URL": f"postgresql://app:{CANARY}@db/shop",
        "ROADWORTHY_METRICS_TOKEN": CANARY,
        "STRIPE_KEY": CANARY,
    }
    for form in ([], ["--json"]):
        done = command("config", "main:app", *form, cwd=tmp_path, env=env)
        assert done.returncode == 0
        assert CANARY not in done.stdout + done.stderr
        assert "postgresql://app:***@db/shop" in done.stdout
        assert "STRIPE_KEY" in done.stdout


def test_mistakes_are_listed(tmp_path: Path) -> None:
    """Wrong settings end with 2 and the same list as a start."""
    done = command("config", cwd=tmp_path, env={"PORT": "", "ROADWORTHY_GRACES": "1"})
    assert done.returncode == 2
    assert "PORT: expected a whole number from 0 to 65535" in done.stderr
    assert "ROADWORTHY_GRACES: there is no such setting; the nearest is ROADWORTHY_GRACE" in done.stderr
    assert done.stdout == ""


def test_rules_of_routes_have_their_places(tmp_path: Path) -> None:
    """Those of the file and the variable with their lines; beside the app those of the code as well."""
    (tmp_path / "main.py").write_text(
        "from starlette.applications import Starlette\n"
        "from starlette.routing import Route\n"
        "from roadworthy import RouteRule, roadworthy\n"
        "async def serve(request): ...\n"
        "app = Starlette(routes=[Route(path, serve) for path in ('/a', '/b', '/c')])\n"
        "app = roadworthy(app, routes={'/c': RouteRule(timeout='2m')})\n"
    )
    (tmp_path / "roadworthy.toml").write_text(
        f'[env.set]\nKEY = "{CANARY}"\n[rules."/a"]\nbody_limit = "1GiB"\n'
    )
    env = {"ROADWORTHY_RULES": '{"GET /b": {"rate_limit": "5/minute"}}'}
    shown = json.loads(command("config", "main:app", "--json", cwd=tmp_path, env=env).stdout)["rules"]
    assert shown == {
        "value": [
            {"route": "GET,HEAD /a", "body_limit": 1 << 30, "source": "roadworthy.toml:3"},
            {"route": "GET,HEAD /b", "rate_limit": "5/minute", "source": "ROADWORTHY_RULES"},
            {"route": "GET,HEAD /c", "timeout": 120.0, "source": "code"},
        ],
        "source": "roadworthy.toml, ROADWORTHY_RULES",
    }
    without = command("config", "--json", cwd=tmp_path, env=env).stdout
    assert json.loads(without)["rules"]["value"][0] == {
        "route": "/a",
        "body_limit": "1GiB",
        "source": "roadworthy.toml:3",
    }
    table = command("config", "main:app", cwd=tmp_path, env=env).stdout
    assert "body_limit = 1073741824" in table
    assert "roadworthy.toml:3" in table
    assert CANARY not in without + table
