"""Settings: where they come from, what is said about wrong ones, and what is never said."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, SecretStr, field_validator, model_validator

from roadworthy.settings import (
    PREFIX,
    WELL_KNOWN,
    Rate,
    Settings,
    SettingsError,
    load_settings,
    set_flags,
    settings_sources,
)
from roadworthy.settings.masking import mask_url, masked_settings

CANARY = "Canary-7f3a91-must-not-appear"


@pytest.fixture(autouse=True)
def clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Start every test in an empty folder and without any variable that settings read."""
    import os

    for name in list(os.environ):
        if name.startswith(PREFIX) or name in WELL_KNOWN.values():
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    set_flags({})


def refused(cls: type[Settings] = Settings, **overrides: Any) -> dict[str, str]:
    """Return the problems of settings that have some."""
    with pytest.raises(SettingsError) as caught:
        load_settings(cls, **overrides)
    return {problem.name: problem.message for problem in caught.value.problems}


def test_defaults_hold_without_any_variable() -> None:
    """An empty environment gives the documented defaults."""
    settings = load_settings()
    assert (settings.host, settings.port, settings.ops_port) == ("127.0.0.1", 8000, 9464)
    assert settings.env == "production"
    assert settings.rate_limit == Rate((600, 60))
    assert set(settings_sources(settings).values()) == {"default"}


def test_every_field_says_what_it_is() -> None:
    """Each field has a description for the documentation, and stays below Kubernetes' 30 s in sum."""
    assert all(info.description for info in Settings.model_fields.values())
    settings = load_settings()
    assert settings.drain_delay + settings.grace + settings.stream_grace < 30


def test_connections_are_kept_longer_than_balancers_keep_them() -> None:
    """The side that closes first must be the balancer (marin-community/marin#2818, truss#2648)."""
    assert load_settings().keep_alive >= 75  # common balancers close after 60 s


@pytest.mark.parametrize(
    ("sources", "port", "origin"),
    [
        ({"flag": 1, "argument": 2, "ROADWORTHY_PORT": "3", "PORT": "4", "file": "PORT=5"}, 1, "--port"),
        ({"argument": 2, "ROADWORTHY_PORT": "3", "PORT": "4", "file": "PORT=5"}, 2, "argument"),
        ({"ROADWORTHY_PORT": "3", "PORT": "4", "file": "PORT=5"}, 3, "ROADWORTHY_PORT"),
        ({"PORT": "4", "file": "ROADWORTHY_PORT=5"}, 4, "PORT"),
        ({"file": "PORT=6\nROADWORTHY_PORT=5"}, 5, "ROADWORTHY_PORT in .env"),
        ({"file": "PORT=6"}, 6, "PORT in .env"),
        ({}, 8000, "default"),
    ],
)
def test_sources_have_one_order(
    monkeypatch: pytest.MonkeyPatch, sources: dict[str, Any], port: int, origin: str
) -> None:
    """Flag, argument, prefixed name, well-known name, file, default: the first that is there wins."""
    if "file" in sources:
        Path(".env").write_text(sources.pop("file"))
    set_flags({"port": sources.pop("flag")} if "flag" in sources else {})
    arguments = {"port": sources.pop("argument")} if "argument" in sources else {}
    for name, value in sources.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(**arguments)
    assert (settings.port, settings_sources(settings)["port"]) == (port, origin)


@pytest.mark.parametrize(("field", "variable"), sorted(WELL_KNOWN.items()))
def test_well_known_variables_are_understood(
    monkeypatch: pytest.MonkeyPatch, field: str, variable: str
) -> None:
    """Variables that platforms set by custom are read without the prefix."""
    text = {"host": "::1", "log_level": "WARNING", "database_url": "sqlite:///x", "redis_url": "redis://h"}
    monkeypatch.setenv(variable, text.get(field, "7"))
    settings = load_settings()
    assert settings_sources(settings)[field] == variable
    assert getattr(settings, field) != Settings.model_fields[field].default


@pytest.mark.parametrize("variable", ["PORT", "ROADWORTHY_PORT"])
@pytest.mark.parametrize("text", ["abc", "70000", "-1", ""])
def test_a_bad_port_is_named_as_it_was_set(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    """A port that is none is refused with the name of the very variable that was set."""
    monkeypatch.setenv(variable, text)
    assert refused() == {variable: "expected a whole number from 0 to 65535"}


def test_all_mistakes_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong values, unknown names, missing fields and contradictions stand in one list."""

    class Shop(Settings):
        stripe_key: SecretStr
        retries: int = 3

    variables = {
        "PORT": "x", "ROADWORTHY_ENV": "prodution", "ROADWORTHY_GRACE": "soon", "RETRIES": "many",
        "ROADWORTHY_PROT": "1", "ROADWORTHY_METRICS_PUBLIC": "true", "ROADWORTHY_CORS_ORIGINS": "*",
        "ROADWORTHY_CORS_CREDENTIALS": "true", "ROADWORTHY_TRUSTED_PROXIES": "10.0.0.0/8,::/0",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    problems = refused(Shop)
    assert set(problems) == {*variables, "ROADWORTHY_METRICS_TOKEN", "STRIPE_KEY"} - {
        "ROADWORTHY_METRICS_PUBLIC", "ROADWORTHY_CORS_ORIGINS",
    }  # fmt: skip
    assert problems["ROADWORTHY_ENV"].endswith("the nearest is production")
    assert problems["ROADWORTHY_PROT"].endswith("the nearest is ROADWORTHY_PORT")
    assert problems["STRIPE_KEY"] == "is required and not set"
    assert problems["ROADWORTHY_TRUSTED_PROXIES"].startswith("entry 2: trusting every address")


def test_no_value_is_ever_printed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """pydantic/pydantic-settings#256, #530, #937: neither text, repr, traceback nor log shows a value."""

    class Shop(Settings):
        missing: str
        api_key: SecretStr = SecretStr("")
        colour: str = "red"

        @field_validator("colour")
        @classmethod
        def _known(cls, value: str) -> str:
            raise ValueError(f"there is no colour {value}")

    caplog.set_level(logging.DEBUG)
    for name in ["API_KEY", "COLOUR", "ROADWORTHY_METRICS_TOKEN", "DATABASE_URL", *(
        f"{PREFIX}{field.upper()}" for field in Settings.model_fields
        if field not in ("csp", "referrer_policy", "database_url", "metrics_token")
    )]:  # fmt: skip
        monkeypatch.setenv(name, CANARY)
    Path(".env").write_text(f"OTHER_SECRET={CANARY}\nbroken {CANARY}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(Shop)
    error = caught.value
    shown = str(error) + repr(error) + "".join(traceback.format_exception(error))
    assert "COLOUR: is refused by its validator" in str(error)
    assert CANARY not in shown + caplog.text + "".join(capsys.readouterr())
    assert error.__cause__ is None
    assert error.__context__ is None


def test_an_empty_value_is_not_set_for_optional_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty optional variable counts as absent, and the next source is asked."""
    monkeypatch.setenv("ROADWORTHY_LOG_FORMAT", "")
    monkeypatch.setenv("ROADWORTHY_REDIS_URL", "")
    monkeypatch.setenv("REDIS_URL", "redis://cache")
    settings = load_settings()
    assert settings.log_format is None
    assert settings_sources(settings)["redis_url"] == "REDIS_URL"


@pytest.mark.parametrize(
    "field", ["host", "env", "log_level", "database_url", "workers", "rate_limit", "grace"]
)
def test_an_empty_value_is_a_mistake_elsewhere(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """A setting that cannot be without a value refuses an empty one by name."""
    monkeypatch.setenv(PREFIX + field.upper(), "")
    assert list(refused()) == [PREFIX + field.upper()]


def test_a_required_field_refuses_an_empty_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A required variable that is set to nothing counts as missing."""

    class Shop(Settings):
        stripe_key: str

    monkeypatch.setenv("STRIPE_KEY", "")
    assert refused(Shop) == {"STRIPE_KEY": "is required and not set"}


def test_an_unknown_prefixed_variable_is_refused_in_the_file_too() -> None:
    """A misspelt name in .env would otherwise be silence; other names there are none of our business."""
    Path(".env").write_text("ROADWORTHY_RATE_LIMITS=1/second\nPGPASSWORD=x\n")
    assert refused() == {
        "ROADWORTHY_RATE_LIMITS": "there is no such setting; the nearest is ROADWORTHY_RATE_LIMIT"
    }


def test_a_variable_in_lower_case_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names compare exactly, so one in the wrong case is named rather than ignored."""
    monkeypatch.setenv("roadworthy_port", "9000")
    assert refused()["roadworthy_port"].endswith("the nearest is ROADWORTHY_PORT")


def test_an_unknown_argument_is_refused() -> None:
    """A misspelt argument is an error, not silence."""
    assert refused(prot=1) == {"prot": "there is no such setting; the nearest is port"}


def test_fields_of_a_service_are_read_from_their_plain_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass reads its fields from the prefixed name, the alias or the plain name."""

    class Shop(Settings):
        stripe_key: SecretStr
        tags: list[str] = Field(default_factory=list)
        weights: dict[str, int] = Field(default_factory=dict)
        sender: str = Field(default="", validation_alias="MAIL_FROM")
        region: str = ""

    monkeypatch.setenv("STRIPE_KEY", CANARY)
    monkeypatch.setenv("TAGS", "a, b")
    monkeypatch.setenv("WEIGHTS", '{"x": 1}')
    monkeypatch.setenv("MAIL_FROM", "a@b.example")
    monkeypatch.setenv("ROADWORTHY_REGION", "north")
    shop = load_settings(Shop)
    assert shop.stripe_key.get_secret_value() == CANARY
    assert (shop.tags, shop.weights, shop.sender, shop.region) == (
        ["a", "b"],
        {"x": 1},
        "a@b.example",
        "north",
    )
    # The base class must not call a variable unknown that a service's class reads.
    assert load_settings().port == 8000


def test_lists_may_be_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is read from words with commas and from a JSON array alike."""
    monkeypatch.setenv("ROADWORTHY_CORS_ORIGINS", '["https://a.example", "https://b.example"]')
    assert load_settings().cors_origins == ("https://a.example", "https://b.example")
    monkeypatch.setenv("ROADWORTHY_CORS_ORIGINS", "https://a.example, https://b.example,")
    assert load_settings().cors_origins == ("https://a.example", "https://b.example")
    monkeypatch.setenv("ROADWORTHY_CORS_ORIGINS", "[https://a.example]")
    assert list(refused()) == ["ROADWORTHY_CORS_ORIGINS"]


@pytest.mark.parametrize("text", ["ten", "10.0.0.0/99", "0.0.0.0/0", "::/0"])
def test_trusted_proxies_are_networks(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A list that is none, or that trusts all, is refused without repeating it (express-rate-limit#134)."""
    monkeypatch.setenv("ROADWORTHY_TRUSTED_PROXIES", text)
    assert text not in str(refused())


def test_masking_keeps_what_helps_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are masked whole; of database URLs host and path stay; passwords in plain URLs are masked."""

    class Shop(Settings):
        hook: SecretStr = SecretStr(f"https://hooks.example/{CANARY}")
        broker: str = f"amqp://user:{CANARY}@queue:5672/"
        brokers: tuple[str, ...] = (f"amqp://user:{CANARY}@queue:5672/",)

    monkeypatch.setenv("DATABASE_URL", f"postgresql://app:{CANARY}@db:5432/shop?sslpassword={CANARY}")
    shown = masked_settings(load_settings(Shop, metrics_token=CANARY))
    assert CANARY not in str(shown)
    assert shown["database_url"] == "postgresql://app:***@db:5432/shop?sslpassword=***"
    assert shown["broker"] == "amqp://user:***@queue:5672/"
    assert (shown["rate_limit"], shown["port"], shown["redis_url"]) == ("600/minute", 8000, None)


@pytest.mark.parametrize("password", ["a@b", "a/b", "a?b", "a#b", "a:b@c/d?e"])
def test_masking_survives_passwords_that_were_not_encoded(password: str) -> None:
    """A parser would end the password early and show the rest of it."""
    assert mask_url(f"redis://:{password}@cache:6379/0") == "redis://:***@cache:6379/0"


class Span(Settings):
    """A service whose settings depend on each other."""

    low: int = 1
    high: int = 2
    name: str

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Span:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


@pytest.mark.parametrize("beside", [{"PORT": "x", "NAME": "n"}, {}, {"ROADWORTHY_PROT": "1", "NAME": "n"}])
def test_contradictions_are_reported_beside_wrong_and_missing_values(
    monkeypatch: pytest.MonkeyPatch, beside: dict[str, str]
) -> None:
    """A validator of several fields has its say in the first start, whatever else is wrong."""
    for name, value in {"LOW": "5", **beside}.items():
        monkeypatch.setenv(name, value)
    problems = refused(Span)
    assert problems["settings"] == "low is above high"
    assert len(problems) == 2


def test_a_validator_has_no_say_on_values_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """What depends on a value that is refused is not made up from its default."""
    monkeypatch.setenv("LOW", "5")
    monkeypatch.setenv("HIGH", "nine")
    monkeypatch.setenv("NAME", "n")
    assert set(refused(Span)) == {"HIGH"}
