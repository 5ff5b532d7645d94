"""FastAPI with the layer."""
