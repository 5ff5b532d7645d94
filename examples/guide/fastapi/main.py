# What stands between the marks is the guide's, as printed; README.md says what was added around it.
from database import Database

db = Database("users.db")

# fmt: off
# >>> the guide: FastAPI (Modern, Fast)
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()

class User(BaseModel):
    id: int
    name: str
    email: str

@app.get("/users/{user_id}")
async def get_user(user_id: int):
    user = await db.fetch_user(user_id)
    if not user:
        raise HTTPException(status_code=404, detail="User not found")
    return user

@app.post("/users")
async def create_user(user: User):
    result = await db.create_user(user)
    return result
# <<<
