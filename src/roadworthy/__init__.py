"""The whole production checklist on any ASGI app."""
