"""A chat mounted in a FastAPI service."""

from chainlit.utils import mount_chainlit
from fastapi import FastAPI

app = FastAPI()


@app.get("/api/number")
async def number() -> dict[str, int]:
    return {"number": 7}


mount_chainlit(app=app, target="chat.py", path="/chat")
