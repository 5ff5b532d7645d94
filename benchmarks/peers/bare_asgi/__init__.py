"""A bare ASGI app, without and with the layer."""
