"""The settings of a service: where they are declared, read, checked, and shown without secrets."""

from .mistakes import PlainMistake, Problem, SettingsError
from .model import Settings, load_settings, settings_sources, weak_secrets
from .offload import cluster_problems
from .reading import set_flags
from .rules import RULES_FILE, WrittenRule, judged_by
from .sources import PREFIX, WELL_KNOWN
from .values import OPENER_POLICIES, Rate, parse_duration, parse_frame_ancestors, parse_rate, parse_size

__all__ = (
    "OPENER_POLICIES",
    "PREFIX",
    "RULES_FILE",
    "WELL_KNOWN",
    "PlainMistake",
    "Problem",
    "Rate",
    "Settings",
    "SettingsError",
    "WrittenRule",
    "cluster_problems",
    "judged_by",
    "load_settings",
    "parse_duration",
    "parse_frame_ancestors",
    "parse_rate",
    "parse_size",
    "set_flags",
    "settings_sources",
    "weak_secrets",
)
