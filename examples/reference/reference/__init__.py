"""Users and posts: a FastAPI service as a team would write it, on the whole production checklist."""
