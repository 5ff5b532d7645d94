"""The routes of users: plain functions, the service comes through ``Depends``."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from ..fields import IDEMPOTENT, PageQuery, UserId
from .dto import User, UserInput, UserList
from .service import UserService

__all__ = ("router", "user_service")

router = APIRouter(prefix="/api/users", tags=["users"])


async def user_service(request: Request) -> UserService:
    """Return the application's service; a test puts another one in ``dependency_overrides``."""
    service: UserService = request.app.state.users
    return service


Users = Annotated[UserService, Depends(user_service)]


@router.get("")
async def list_users(page: PageQuery, users: Users) -> UserList:
    """List users in the order of their ids."""
    return await users.list(page)


@router.post("", status_code=201, dependencies=IDEMPOTENT)
async def create_user(values: UserInput, users: Users, response: Response) -> User:
    """Create a user."""
    user = await users.create(values)
    response.headers["Location"] = f"/api/users/{user.id}"
    return user


@router.get("/{id}")
async def get_user(user_id: UserId, users: Users) -> User:
    """Return one user."""
    return await users.get(user_id)


@router.put("/{id}")
async def replace_user(user_id: UserId, values: UserInput, users: Users) -> User:
    """Replace a user's name and e-mail address."""
    return await users.replace(user_id, values)


@router.delete("/{id}", status_code=204, response_class=Response)
async def delete_user(user_id: UserId, users: Users) -> None:
    """Delete a user together with the user's posts."""
    await users.delete(user_id)
