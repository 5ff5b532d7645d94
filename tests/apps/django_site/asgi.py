"""The site over ASGI, with the handler that serves static files."""

import os
from typing import Any

from tests.apps.common import around

__all__ = ("app", "create", "plain")

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.apps.django_site.settings")


def create() -> Any:
    """Make the app anew."""
    from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # type: ignore[import-untyped]
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]

    return ASGIStaticFilesHandler(get_asgi_application())


plain = create()
app = around(create())
