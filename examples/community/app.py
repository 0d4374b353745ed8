"""A community: people join, and a worker welcomes each of them, once."""

from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

from msgspec import Meta, Struct

from switchgear import App, Code, Email, Fault, Transaction

app = App("community")


class NewUser(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    email: Email


class User(Struct):
    id: UUID
    name: str
    email: str
    created_at: datetime
    welcomed_at: datetime | None


class UserPage(Struct):
    users: list[User]
    next: UUID | None


class UserCreated(Struct):
    id: UUID


class About(Struct):
    name: str
    sentence: str


COLUMNS = "id, name, email, created_at, welcomed_at"


@app.post("/users", scope="user:write", deadline="2s")
async def create_user(new: NewUser, tx: Transaction) -> User:
    """Create a user; the worker welcomes them soon after."""
    user = await tx.fetch_one(
        User,
        f"insert into users (id, name, email) values ($1, $2, $3) returning {COLUMNS}",
        uuid4(),
        new.name,
        new.email,
    )
    await tx.publish("user.created", UserCreated(user.id), key=str(user.id))
    return user


@app.get("/users", public=True)
async def list_users(
    tx: Transaction,
    limit: Annotated[int, Meta(ge=1, le=100)] = 20,
    after: UUID | None = None,
) -> UserPage:
    """List the users, oldest first, from the one behind `after`."""
    users = await tx.fetch_all(
        User,
        f"""
        select {COLUMNS} from users
        where $1::uuid is null
           or (created_at, id) > (select created_at, id from users where id = $1)
        order by created_at, id
        limit $2
        """,
        after,
        limit,
    )
    return UserPage(users, users[-1].id if len(users) == limit else None)


@app.get("/users/{id}", public=True)
async def show_user(id: UUID, tx: Transaction) -> User:
    """Show one user."""
    user = await tx.fetch_first(User, f"select {COLUMNS} from users where id = $1", id)
    if user is None:
        raise Fault(Code.NOT_FOUND, public="There is no such user.")
    return user


@app.get("/about", public=True)
async def about() -> About:
    """Say what this is; needs no database."""
    return About("community", "One failure stays one failure.")


@app.consumer("user.created", lanes=8)
async def welcome(created: UserCreated, tx: Transaction) -> None:
    """Welcome a new user: the log entry and the mark commit together, once."""
    await tx.execute("insert into welcome_log (user_id) values ($1)", created.id)
    await tx.execute("update users set welcomed_at = now() where id = $1", created.id)
