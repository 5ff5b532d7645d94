"""The settings of a service: where they are declared, read, checked, and shown without secrets."""

from .mistakes import Problem, SettingsError
from .model import Settings, load_settings, settings_sources, weak_secrets
from .reading import set_flags
from .sources import PREFIX, WELL_KNOWN
from .values import Rate, parse_duration, parse_rate, parse_size

__all__ = (
    "PREFIX",
    "WELL_KNOWN",
    "Problem",
    "Rate",
    "Settings",
    "SettingsError",
    "load_settings",
    "parse_duration",
    "parse_rate",
    "parse_size",
    "set_flags",
    "settings_sources",
    "weak_secrets",
)
