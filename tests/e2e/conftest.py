"""What the end-to-end tests share: a folder, and one community for those that only ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Running
from tests.support.example import copied
from tests.support.postgres import reachable_folder

MORE = '''
from switchgear import Call


@app.get("/headers", public=True)
async def headers(call: Call) -> dict[str, str]:
    """Say which headers reached this handler."""
    return dict(call.payload.headers)
'''


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that the embedded server's account can reach too."""
    with reachable_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def community() -> Iterator[Running]:
    """The community with one more route, for everything that wrong inputs must not break."""
    with reachable_folder() as home:
        folder = home / "app"
        copied(folder, MORE)
        with Running.started("up", str(folder), home / "data") as running:
            yield running


@pytest.fixture(scope="session")
def token(community: Running) -> str:
    return community.token()
