"""How the layer speaks ASGI: requests, WebSockets, the lifespan, and what the server refuses by itself."""
