"""The suites of FastAPI, Starlette and Django, run from their source distributions with the layer on."""
