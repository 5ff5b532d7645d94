"""The site that `wagtail start` makes, as an ASGI app."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings.dev")
app = ASGIStaticFilesHandler(get_asgi_application())
