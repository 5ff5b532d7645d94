"""FastAPI with the packages that are usually taken."""
