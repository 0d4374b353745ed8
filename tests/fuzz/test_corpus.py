"""What once reached something new, or broke a rule, is run again: the rules hold for all of it."""

import pytest

from fuzz import corpus
from fuzz.targets import TARGETS

FOUND = [
    pytest.param(name, data, id=f"{name}/{file}")
    for name in TARGETS
    for file, data in corpus.found(name).items()
]


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_breaks_no_rule(name: str) -> None:
    inputs = corpus.packed(name)
    assert inputs, f"there is no corpus of {name}: ./dev fuzz --keep {name}"
    for data in inputs:
        try:
            TARGETS[name].run(data)
        except BaseException as error:
            error.add_note(f"the input: {data!r}")
            raise


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_is_mended(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


def test_nothing_lies_in_the_corpus_that_is_of_no_target() -> None:
    names = {path.stem for path in corpus.ROOT.glob("*.txt")}
    assert names == set(TARGETS)
    assert {path.name for path in (corpus.ROOT / "found").glob("*")} <= names
    assert sum(path.stat().st_size for path in corpus.ROOT.rglob("*") if path.is_file()) < 1 << 20
