"""Every small change of a module that a good suite should notice, made from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

N = TypeVar("N", bound=ast.AST)

Change = Callable[[], Callable[[], None]]
"""Makes one change in the tree and returns what undoes it."""

ENUMS = {
    "Op": ("TRANSCRIBE", "SPEAK", "CHAT", "GENERATE", "SWAP", "LOAD", "UNLOAD"),
    "State": ("ADMITTED", "RUNNING", "STREAMING", "CANCELLED", "DONE"),
    "Phase": ("WAITING", "PREPARING", "RUNNING", "STREAMING", "CANCELLED", "DONE"),
    "Mode": ("SERVING", "DRAINING"),
    "Step": ("EVICT", "LOAD", "RUN"),
    "OutcomeKind": ("OK", "REJECTED", "FAILED", "CANCELLED", "REVOKED"),
    "Vram": ("OWN", "EXTERNAL", "RESERVED"),
    "ErrorKind": ("NETWORK", "MALFORMED", "OVERFLOW", "CANCELLED", "UNKNOWN"),
    "Code": ("NOT_CONFIGURED", "MODEL_LOAD_FAILED", "LOAD_COOLING_DOWN", "SLOT_BUSY"),
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}
NAMES = {"any": "all", "all": "any", "min": "max", "max": "min"}
IDLE = "Row(nothing, tuple(Phase))"


@dataclass(frozen=True)
class Mutant:
    """One changed module: where, what, and its whole source."""

    line: int
    what: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its lines."""
    tree = ast.parse(source)
    found = sorted(changes(tree), key=lambda change: change[0])
    seen = {ast.unparse(tree)}
    for line, what, make in found:
        undo = make()
        changed = ast.unparse(ast.fix_missing_locations(tree))
        undo()
        if changed not in seen:
            seen.add(changed)
            yield Mutant(line, what, changed)


def _set(owner: object, name: str, value: object) -> Change:
    def make() -> Callable[[], None]:
        before = getattr(owner, name)
        setattr(owner, name, value)
        return lambda: setattr(owner, name, before)

    return make


def _put(items: list[N], index: int, value: N | None) -> Change:
    """Replace an item of a list, or drop it."""

    def make() -> Callable[[], None]:
        before = list(items)
        items[index : index + 1] = [] if value is None else [value]

        def undo() -> None:
            items[:] = before

        return undo

    return make


def changes(tree: ast.Module) -> Iterator[tuple[int, str, Change]]:
    """Line, description and change, for everything that could be changed; nothing is changed yet."""
    line = 0
    for node in _code(tree):
        line = getattr(node, "lineno", line)
        for what, change in _of(node):
            yield line, what, change


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run: no annotations, decorators, imports, sentences or type-checking blocks."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Import | ast.ImportFrom):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            yield from _code(child)


def _of(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """The changes of one node."""
    match node:
        case ast.Compare(ops=ops):
            for index, each in enumerate(ops):
                other = COMPARISONS[type(each)]
                yield f"{type(each).__name__} -> {other.__name__}", _put(ops, index, other())
        case ast.BoolOp(op=op, values=values):
            yield "and <-> or", _set(node, "op", OPERATORS[type(op)]())
            for index in range(len(values)):
                yield f"drop operand {index}", _put(values, index, None)
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            swapped = OPERATORS[type(op)]
            yield f"{type(op).__name__} -> {swapped.__name__}", _set(node, "op", swapped())
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", _set(node, "value", not value)
        case ast.Constant(value=int(value)) | ast.Constant(value=float(value)):
            yield f"{value} -> {value + 1}", _set(node, "value", value + 1)
        case ast.Attribute(value=ast.Name(id=enum), attr=member) if member in ENUMS.get(enum, ()):
            members = ENUMS[enum]
            next_one = members[(members.index(member) + 1) % len(members)]
            yield f"{enum}.{member} -> {next_one}", _set(node, "attr", next_one)
        case ast.Name(id=name) if name in NAMES:
            yield f"{name} -> {NAMES[name]}", _set(node, "id", NAMES[name])
        case ast.comprehension(ifs=ifs):
            for index in range(len(ifs)):
                yield "drop the filter", _put(ifs, index, None)
        case ast.Call():
            yield from _of_call(node)
        case ast.If() | ast.IfExp():
            yield "negate the condition", _set(node, "test", _not(node.test))
        case ast.While():
            yield "run never", _set(node, "test", ast.Constant(False))
        case _:
            pass
    yield from _of_blocks(node)


def _of_call(node: ast.Call) -> Iterator[tuple[str, Change]]:
    for index, keyword in enumerate(node.keywords):
        yield f"drop {keyword.arg}=", _put(node.keywords, index, None)
    for index, argument in enumerate(node.args):
        if isinstance(argument, ast.Starred) or len(node.args) > 1:
            yield f"drop argument {index}", _put(node.args, index, None)
    if isinstance(node.func, ast.Name) and node.func.id == "Row" and len(node.args) == 2:
        yield "the row does nothing", _put(node.args, 0, ast.Name("nothing"))
        targets = node.args[1]
        if isinstance(targets, ast.Tuple) and len(targets.elts) > 1:
            for index, target in enumerate(targets.elts):
                yield f"may not lead to {ast.unparse(target)}", _put(targets.elts, index, None)
        if isinstance(targets, ast.Tuple):
            missing = [name for name in "WPRSCD" if name not in {ast.unparse(e) for e in targets.elts}]
            for name in missing:
                yield (
                    f"may lead to {name}",
                    _put(targets.elts, 0, ast.Starred(ast.Tuple([targets.elts[0], ast.Name(name)]))),
                )


def _of_blocks(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """Statements dropped, and cells of a table made idle."""
    for block in (getattr(node, "body", None), getattr(node, "orelse", None)):
        if not isinstance(block, list):
            continue
        for index, statement in enumerate(block):
            match statement:
                case ast.Expr(value=ast.Constant()):
                    continue
                case ast.Expr() | ast.AugAssign() | ast.Break() | ast.Continue():
                    yield f"drop: {ast.unparse(statement)[:60]}", _put(block, index, ast.Pass())
                case ast.Assign() if isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.While):
                    yield f"drop: {ast.unparse(statement)[:60]}", _put(block, index, ast.Pass())
                case ast.Return(value=None):
                    yield "drop: return", _put(block, index, ast.Pass())
                case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
                    yield "return None", _put(block, index, ast.Return(ast.Constant(None)))
    if isinstance(node, ast.Dict) and any("_NOT_READY" in ast.unparse(v) for v in node.values):
        idle = ast.parse(IDLE, mode="eval").body
        for index, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            if isinstance(value, ast.Name) and key is not None:
                yield f"{ast.unparse(key)} is not refused", _put(node.values, index, idle)


def _not(test: ast.expr) -> ast.expr:
    return test.operand if isinstance(test, ast.UnaryOp) else ast.UnaryOp(ast.Not(), test)
