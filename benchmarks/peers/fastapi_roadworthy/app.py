"""A FastAPI route with the whole checklist by one line."""

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from roadworthy import roadworthy

service = FastAPI()


class User(BaseModel):
    """A user as the API shows it."""

    id: int
    name: str
    email: str
    created_at: str


USERS = {
    n: User(id=n, name="Ada Lovelace", email="ada@example.com", created_at="2026-01-01T00:00:00Z")
    for n in range(100)
}


@service.get("/api/users/{user_id}")
async def get_user(user_id: int) -> User:
    """Return one user from memory."""
    user = USERS.get(user_id)
    if user is None:
        raise HTTPException(404, "User not found")
    return user


app = roadworthy(service, rate_limit="100000000/second", cors_origins="https://app.example")
