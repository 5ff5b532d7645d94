"""A GraphQL API: queries, a mutation, an upload, a subscription."""

import asyncio
from collections.abc import AsyncGenerator

import strawberry
from fastapi import FastAPI
from strawberry.fastapi import GraphQLRouter
from strawberry.file_uploads import Upload


@strawberry.type
class Book:
    title: str
    pages: int


BOOKS = [Book(title=f"volume {number}", pages=number * 100) for number in range(1, 60)]


@strawberry.type
class Query:
    @strawberry.field
    def books(self) -> list[Book]:
        return BOOKS

    @strawberry.field
    def fails(self) -> int:
        raise ValueError("no such shelf")


@strawberry.type
class Mutation:
    @strawberry.mutation
    def add(self, title: str, pages: int) -> Book:
        BOOKS.append(Book(title=title, pages=pages))
        return BOOKS[-1]

    @strawberry.mutation
    async def size(self, file: Upload) -> int:
        return len(await file.read())


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number
            await asyncio.sleep(0.01)


schema = strawberry.Schema(Query, Mutation, Subscription)
app = FastAPI()
app.include_router(GraphQLRouter(schema, multipart_uploads_enabled=True), prefix="/graphql")
