"""Finding where the statements of a file begin."""

import pytest

from switchgear.engines.postgres.statements import statements


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        ("  -- nothing\n ; ;", []),
        ("a; b", [(1, "a"), (1, "b")]),
        ("a\n;\n\n-- why\nb;\n", [(1, "a"), (5, "b")]),
        ("select ';' ; b", [(1, "select ';'"), (1, "b")]),
        ("select 'it''s;' ; b", [(1, "select 'it''s;'"), (1, "b")]),
        (r"select E'\';' ; b", [(1, r"select E'\';'"), (1, "b")]),
        ('select ";" ; b', [(1, 'select ";"'), (1, "b")]),
        ("do $$ a; b $$; c", [(1, "do $$ a; b $$"), (1, "c")]),
        ("do $x$ $$;$$ ; $x$;\nc", [(1, "do $x$ $$;$$ ; $x$"), (2, "c")]),
        ("a -- ; no\n; b", [(1, "a -- ; no"), (2, "b")]),
        ("a /* ; /* ; */ ; */ ; b", [(1, "a /* ; /* ; */ ; */"), (1, "b")]),
        ("a /* never closed ; b", [(1, "a /* never closed ; b")]),
        ("a $1; b", [(1, "a $1"), (1, "b")]),
    ],
)
def test_statements(sql: str, expected: list[tuple[int, str]]) -> None:
    assert statements(sql) == expected
