from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import reachable_folder


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that the embedded server's account can reach too."""
    with reachable_folder() as folder:
        yield folder
