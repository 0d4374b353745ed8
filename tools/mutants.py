"""Small defects on purpose: every way in which one place of a module may be written wrongly.

A mutant changes one node of the syntax tree: a comparison, a constant, a condition, a statement,
an argument. Type annotations, docstrings, prose in messages, `__all__` and `__slots__` are left
alone: no behaviour hangs on them. What compiles to the same bytecode as the original, or as
another mutant, is no mutant.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import CodeType
from typing import Any, Final

__all__ = ["Mutant", "mutants"]

NAME: Final = re.compile(r"[\w.*/-]*")
"""A string that others look something up by. One with a space in it is prose."""

COMPARED: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
COMPUTED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
CALLED: Final = {
    "all": "any",
    "any": "all",
    "append": "appendleft",
    "appendleft": "append",
    "endswith": "startswith",
    "fullmatch": "match",
    "max": "min",
    "min": "max",
    "pop": "popleft",
    "popleft": "pop",
    "startswith": "endswith",
}
TYPES_ONLY: Final = {
    "annotation",
    "returns",
    "bases",
    "type_comment",
    "type_params",
    "type_ignores",
}
UNTOUCHED: Final = {"__all__", "__slots__"}
OF_TYPES: Final = {"NewType", "ParamSpec", "TypeVar", "TypeVarTuple", "cast"}
REMOVABLE: Final = (ast.Assign, ast.AugAssign, ast.Return, ast.Raise, ast.Delete)


@dataclass(frozen=True)
class Mutant:
    """One small defect: where it stands, what stood there, what stands there now."""

    row: int
    within: str
    line: str
    change: str
    code: CodeType


@dataclass(frozen=True)
class _Slot:
    """A place in the tree that holds a node, alone or in a list."""

    owner: ast.AST
    field: str
    index: int | None = None

    def held(self) -> ast.AST:
        value = getattr(self.owner, self.field)
        node: ast.AST = value if self.index is None else value[self.index]
        return node

    def put(self, node: ast.AST | None) -> Callable[[], None]:
        """Put another node there, or none at all; return how to undo it."""
        before = getattr(self.owner, self.field)
        if self.index is None:
            after: Any = node
        else:
            after = [*before[: self.index], *([node] if node else []), *before[self.index + 1 :]]
        setattr(self.owner, self.field, after)
        return partial(setattr, self.owner, self.field, before)


def mutants(source: str, filename: str) -> list[Mutant]:
    """Return every mutant of a module, in the order of its lines."""
    tree, lines = ast.parse(source), source.splitlines()
    seen = {_essence(compile(tree, filename, "exec"))}
    found: list[Mutant] = []
    for slot, node, within in _changes(tree, ""):
        old = slot.held()
        row = int(getattr(old, "lineno", 0) or getattr(slot.owner, "lineno", 0))
        if node is not None and not hasattr(node, "lineno"):
            ast.fix_missing_locations(ast.copy_location(node, old))
        change = f"{ast.unparse(old)} -> {ast.unparse(node) if node else 'nothing'}"
        undo = slot.put(node)
        try:
            code = compile(tree, filename, "exec")
        except (SyntaxError, ValueError):  # a default before an argument without one, say
            continue
        finally:
            undo()
        essence = _essence(code)
        if essence not in seen:
            seen.add(essence)
            found.append(Mutant(row, within, lines[row - 1].strip(), change, code))
    return sorted(found, key=lambda mutant: mutant.row)


def _essence(code: CodeType) -> tuple[object, ...]:
    """Return what a code object does, without the lines on which it stands."""
    constants = tuple(
        _essence(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts
    )
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    head = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return (code.co_code, code.co_exceptiontable, constants, names, head)


Change = tuple[_Slot, ast.AST | None, str]


def _changes(owner: ast.AST, within: str) -> Iterator[Change]:
    """Walk the tree, and say what else might stand in each place."""
    for slot in _slots(owner):
        node = slot.held()
        if _silent(node):
            continue
        inner = within
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inner = f"{within}.{node.name}" if within else node.name
        for other in _instead(node, owner, slot.field):
            yield slot, other, inner
        yield from _changes(node, inner)


def _slots(owner: ast.AST) -> Iterator[_Slot]:
    for field, value in ast.iter_fields(owner):
        if field in TYPES_ONLY:
            continue
        if isinstance(value, ast.AST):
            yield _Slot(owner, field)
        elif isinstance(value, list):
            for index, each in enumerate(value):
                if isinstance(each, ast.AST):
                    yield _Slot(owner, field, index)


def _silent(node: ast.AST) -> bool:
    """Say whether no behaviour hangs on a node."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assert():  # told to the type checker
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call(func=ast.Name(id="native")):  # what a compiler alone is told
            return True
        case ast.keyword(arg="gc"):  # how the garbage collector sees it, and nobody else
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) if name in UNTOUCHED:
            return True
        case ast.Call(func=ast.Name(id=name)) if name in OF_TYPES:
            return True
        case ast.FunctionDef(decorator_list=[ast.Name(id="overload")]):
            return True
        case ast.ClassDef(bases=bases):  # a protocol is a type
            return any("Protocol" in ast.unparse(base) for base in bases)
        case _:
            return False


def _instead(node: ast.AST, owner: ast.AST, field: str) -> Iterator[ast.AST | None]:
    """Return what might stand instead of a node, in the field of its owner."""
    if field == "decorator_list" or (field == "keywords" and isinstance(owner, ast.Call)):
        yield None
    elif field in ("test", "ifs") and not isinstance(node, ast.Constant):
        # A loop that never ends tells nothing that its never beginning does not.
        yield ast.Constant(False)
        if not isinstance(owner, ast.While):
            yield ast.Constant(True)
    elif field == "iter":
        yield ast.Tuple([], ast.Load())
    elif field in ("defaults", "kw_defaults") and not isinstance(node, ast.Constant):
        yield ast.Constant(None)
    if isinstance(node, ast.stmt):
        yield from _other_statements(node)
    elif isinstance(node, ast.expr) and not (isinstance(owner, ast.JoinedStr)):
        yield from _other_expressions(node)


def _other_statements(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Break():
            yield ast.Continue()
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
            yield ast.Pass()
        case ast.Expr():
            yield ast.Pass()
        case ast.Return(value=ast.expr() as value):
            # An empty word, False and nothing are one to whoever asks, not to the type checker.
            if not (isinstance(value, ast.Constant) and value.value in (False, "")):
                yield ast.Return(ast.Constant(None))
        case ast.AugAssign(target=target, op=operator, value=value):
            yield ast.AugAssign(target, COMPUTED[type(operator)](), value)
            yield ast.Assign([target], value)
    if isinstance(node, REMOVABLE):
        yield ast.Pass()


def _other_expressions(node: ast.expr) -> Iterator[ast.AST]:
    match node:
        case ast.Constant(value=value):
            yield from map(ast.Constant, _other_values(value))
        case ast.Compare(left=left, ops=ops, comparators=right):
            for at, operator in enumerate(ops):
                for other in COMPARED[type(operator)]:
                    yield ast.Compare(left, [*ops[:at], other(), *ops[at + 1 :]], right)
        case ast.BinOp(left=first, op=sign, right=second):
            yield ast.BinOp(first, COMPUTED[type(sign)](), second)
        case ast.BoolOp(op=both, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(both, ast.And) else ast.And(), values)
            for at in range(len(values)):
                rest = [*values[:at], *values[at + 1 :]]
                yield ast.BoolOp(both, rest) if len(rest) > 1 else rest[0]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Lambda(args=arguments):
            yield ast.Lambda(arguments, ast.Constant(None))
        case ast.Call():
            yield from _other_calls(node)


def _other_values(value: object) -> Iterator[bool | int | float | str | bytes]:
    match value:
        case bool():
            yield not value
        case int() | float():
            yield value + 1
            yield value - 1
        case str() if NAME.fullmatch(value):
            yield value + "_"
        case bytes():
            yield value + b"_"


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    function, arguments = node.func, node.args
    if isinstance(function, ast.Name) and function.id in CALLED:
        yield ast.Call(ast.Name(CALLED[function.id], ast.Load()), arguments, node.keywords)
        if function.id in ("max", "min") and len(arguments) > 1:
            yield from arguments
    elif isinstance(function, ast.Attribute) and function.attr in CALLED:
        other = ast.Attribute(function.value, CALLED[function.attr], ast.Load())
        yield ast.Call(other, arguments, node.keywords)
