"""Each entry of the catalogue, on real sockets, on both event loops."""

import re
from pathlib import Path

import pytest

from tests.rules.catalogue import CATALOGUE, RULES
from tests.rules.conversation import LOOPS, observe
from tests.rules.entry import Entry
from tests.rules.page import PAGE, written
from tools.sabotage import read

SABOTAGE = Path(__file__).resolve().parents[2] / "sabotage"

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.slug)
def test_an_entry_comes_out_as_its_rule_has_it(entry: Entry, loop: str) -> None:
    seen = observe(entry, gateway=entry.serve is None, loop=loop)
    assert seen.short == entry.answer
    if entry.forwarded is not None:
        assert seen.forwarded == entry.forwarded
    if entry.again is not None:
        assert seen.again is entry.again
    if entry.body is not None:
        assert seen.answers[-1].body == entry.body
    if entry.bodies is not None:
        assert b"".join(answer.body for answer in seen.answers) == entry.bodies
    if entry.clean is not None:
        assert seen.clean is entry.clean
    if entry.got is not None:
        assert seen.received.endswith(entry.got)
    if entry.has is not None:
        assert entry.has in seen.received
    if entry.lacks is not None:
        assert entry.lacks not in seen.received


SHARED = [
    entry for entry in CATALOGUE if entry.proxied and entry.serve is None and not entry.upstream
]


@pytest.mark.parametrize("entry", SHARED, ids=lambda entry: entry.slug)
def test_a_server_without_a_gateway_refuses_the_same(entry: Entry) -> None:
    seen = observe(entry, gateway=False, loop="asyncio")
    assert seen.short == entry.answer


def test_every_clause_has_a_name_of_its_own() -> None:
    names = [entry.slug for entry in CATALOGUE]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_patch_that_takes_its_protection_away(rule: int) -> None:
    """`./dev sabotage rule-` applies them one by one, and tells which of these tests fails."""
    patches = [read(path) for path in SABOTAGE.glob(f"rule-{rule}-*.patch")]
    slugs = {entry.slug for entry in CATALOGUE}
    caught = [re.search(r"\[(.+)-asyncio\]$", test) for one in patches for test in one.tests]
    assert caught
    assert all(found is not None and found[1] in slugs for found in caught)


def test_the_page_tells_what_really_came_of_each_entry() -> None:
    assert PAGE.read_text() == written(), "write it anew: python -m tests.rules.page"
