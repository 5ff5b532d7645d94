"""A marimo notebook as an app."""

import marimo

app = marimo.create_asgi_app(include_code=True).with_app(path="/note", root="./notebook.py").build()
