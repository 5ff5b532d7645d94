"""fastapi-users: register, log in with a form, by cookie and bearer token, change, log out, be refused."""

from ..application import Application
from ..visitor import Visitor

_ADA = {"email": "ada@example.com", "password": "correct horse"}


def journey(visitor: Visitor) -> None:
    """Have an account, and use it."""
    visitor.get("/hello")
    visitor.post("/auth/register", json=_ADA)
    visitor.post("/auth/register", json=_ADA)
    visitor.post("/auth/register", json={"email": "nobody"})
    visitor.post("/auth/jwt/login", data={"username": _ADA["email"], "password": "wrong"})
    token = visitor.post("/auth/jwt/login", data={"username": _ADA["email"], "password": _ADA["password"]})
    bearer = {"Authorization": f"Bearer {token.json()['access_token']}"}
    visitor.get("/hello", headers=bearer)
    visitor.get("/hello", headers={"Authorization": "Bearer none"})
    visitor.post("/auth/cookie/login", data={"username": _ADA["email"], "password": _ADA["password"]})
    visitor.get("/users/me")
    visitor.ask("PATCH", "/users/me", json={"email": "ada@example.org"})
    visitor.get("/hello")
    visitor.get("/users/00000000-0000-0000-0000-000000000000")
    visitor.post("/auth/cookie/logout")
    visitor.get("/hello")
    visitor.get("/openapi.json")
    visitor.get("/docs")


APPLICATION = Application(journey, varies=(r'("access_token":")[^"]+',))
