"""Rows on a real server, as classes of every kind: by the names that fields have in Python."""

from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from switchgear.engines.postgres.dsn import Dsn
from tests.support.postgres import asking

SELECT = "SELECT 1 AS user_id, 'ada' AS name"


class Camel(msgspec.Struct, rename="camel"):
    user_id: int
    name: str


class Model(pydantic.BaseModel):
    user_id: int
    name: str


class Aliased(pydantic.BaseModel):
    user_id: int = pydantic.Field(alias="userId")
    name: str


@attrs.define
class Attributes:
    user_id: int
    name: str


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (Camel, Camel(1, "ada")),
        (Model, Model(user_id=1, name="ada")),
        (Aliased, Aliased(userId=1, name="ada")),
        (Attributes, Attributes(1, "ada")),
    ],
)
async def test_a_row_is_read_by_the_names_that_its_class_has_in_python(
    database: Dsn, kind: type[Any], row: object
) -> None:
    async with asking(database) as tx:
        assert await tx.fetch_one(kind, SELECT) == row
        assert await tx.fetch_first(kind, SELECT) == row
        assert await tx.fetch_all(kind, SELECT) == [row]


@pytest.mark.parametrize("kind", [Camel, Aliased])
async def test_a_column_may_have_the_name_of_the_json(
    database: Dsn, kind: type[Camel | Aliased]
) -> None:
    async with asking(database) as tx:
        row = await tx.fetch_one(kind, """SELECT 1 AS "userId", 'ada' AS name""")
        assert (row.user_id, row.name) == (1, "ada")


async def test_a_value_that_does_not_fit_its_model_is_a_defect(database: Dsn) -> None:
    with pytest.raises(pydantic.ValidationError, match="user_id"):
        async with asking(database) as tx:
            await tx.fetch_one(Model, "SELECT 'a' AS user_id, 'ada' AS name")
