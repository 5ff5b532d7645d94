"""Where the service's settings come from: those of the layer are all it needs."""

from roadworthy.settings import Settings

__all__ = ("Settings", "settings")


def settings() -> Settings:
    """Read the settings from the environment and ``.env``."""
    return Settings()
