"""A chat over Socket.IO: rooms, acknowledgements, bytes, and somebody who may not come in."""

import socketio

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
app = socketio.ASGIApp(server)


@server.event
async def connect(sid, environ, auth):
    if auth == {"name": "nobody"}:
        raise ConnectionRefusedError("not you")
    await server.enter_room(sid, "everybody")
    await server.emit("came", {"name": (auth or {}).get("name")}, room="everybody")


@server.event
async def say(sid, words):
    await server.emit("said", words, room="everybody")
    return len(words)


@server.event
async def echo(sid, data):
    return data
