"""What a decorator does at a request, besides letting the view run or refusing it.

Read from its source when `defer` wraps it: a decorator that only refuses can be left out where the gate has decided. One
that also calls `csrf.protect()`, sets `g.api_token` or writes `last_used_at` cannot, because without it the request is
another. What only happens on the way to a refusal does not count; what cannot be read does.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from typing import Any, Callable, Iterable, Iterator, Mapping

# What the gate sets itself, by `load_admin` and `load_machine`.
SET_BY_THE_GATE = ("admin", "machine")
LOGS = ("debug", "info", "warning", "error", "exception", "critical")
WRITES = ("commit", "save", "flush", "add", "delete", "bulk_create", "incr")
STATEMENTS_THAT_WRITE = ("insert", "update", "delete")
# How far calls into the decorator's own module are followed in search of a write.
DEPTH = 3

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def effects(decorator: Callable[..., Any]) -> tuple[str, ...]:
    """What it does more than refuse, in words for the log; nothing where it does no more."""
    while isinstance(decorator, functools.partial):
        decorator = decorator.func
    root = _source(decorator)
    if root is None:
        return ("has no source that can be read",)
    wrappers = list(_wrappers(root))
    if not wrappers:
        return ("leaves it to something else",)
    names: Mapping[str, Any] = getattr(inspect.unwrap(decorator), "__globals__", {})
    found = [effect for wrapper, enclosing in wrappers for effect in _Reader(wrapper, enclosing, names).read()]
    return tuple(dict.fromkeys(found))


def _source(function: Any) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    return body[0] if len(body) == 1 and isinstance(body[0], (ast.FunctionDef, ast.AsyncFunctionDef)) else None


def _wrappers(root: Function) -> Iterator[tuple[Function, frozenset[str]]]:
    """What runs at a request, with the names of what is around it: functions with `functools.wraps`, else the innermost."""
    nested = list(_nested(root, frozenset()))
    marked = [(function, names) for function, names in nested if not isinstance(function, ast.Lambda)
              and any(_last_word(mark) == "wraps" for mark in function.decorator_list)]
    return iter(marked or [(function, names) for function, names in nested if not list(_nested(function, frozenset()))])


def _nested(function: Function, enclosing: frozenset[str]) -> Iterator[tuple[Function, frozenset[str]]]:
    names = enclosing | _own_names(function)
    body = function.body if isinstance(function.body, list) else [function.body]
    for node in _walk(body):
        if isinstance(node, Function):
            yield node, names
            yield from _nested(node, names)


def _own_names(function: Function) -> frozenset[str]:
    arguments = function.args
    names = {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    names |= {each.arg for each in (arguments.vararg, arguments.kwarg) if each is not None}
    body = function.body if isinstance(function.body, list) else []
    return frozenset(names | {node.id for node in _walk(body) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)})


def _walk(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """As `ast.walk`, but a function within is not entered."""
    for node in nodes:
        yield node
        if not isinstance(node, Function):
            yield from _walk(ast.iter_child_nodes(node))


def _last_word(node: ast.expr) -> str:
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class _Reader:
    """Reads one function that runs at a request."""

    def __init__(self, function: Function, enclosing: frozenset[str], names: Mapping[str, Any]) -> None:
        self._function, self._names = function, names
        self._own = _own_names(function)
        self._enclosing = enclosing - self._own
        self._found: list[str] = []

    def read(self) -> list[str]:
        if isinstance(self._function, ast.Lambda):
            self._answer(self._function.body)
        else:
            self._block(self._function.body)
        return self._found

    def _block(self, body: list[ast.stmt]) -> None:
        if self._refuses(body):
            return
        for statement in self._before_a_refusal(body):
            self._statement(statement)

    def _refuses(self, body: list[ast.stmt]) -> bool:
        """Whether a block ends the request without its view."""
        is_end = bool(body) and (isinstance(body[-1], (ast.Return, ast.Raise)) or _is_abort(body[-1]))
        return is_end and not any(self._is_view(node) for node in _walk(body))

    def _before_a_refusal(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """Without what follows `if allowed: return view()`."""
        for last in range(len(body) - 1, -1, -1):
            calls = [node for node in _walk([body[last]]) if self._is_view(node)]
            if calls:
                returned = [inner for node in _walk([body[last]]) if isinstance(node, ast.Return) for inner in _walk([node])]
                all_returned = all(any(call is inner for inner in returned) for call in calls)
                return body[:last + 1] if all_returned and self._refuses(body[last + 1:]) else body
        return body

    def _statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign() | ast.AugAssign() | ast.AnnAssign() | ast.Delete():
                targets = [statement.target] if isinstance(statement, (ast.AugAssign, ast.AnnAssign)) else statement.targets
                for target in _walk(targets):
                    if isinstance(target, (ast.Attribute, ast.Subscript)) and not isinstance(target.ctx, ast.Load) and not (
                            isinstance(target, ast.Attribute) and target.attr in SET_BY_THE_GATE):
                        self._found.append(f"assigns `{ast.unparse(target)}`")
                if not isinstance(statement, ast.Delete) and statement.value is not None:
                    self._expression(statement.value)
            case ast.Expr(value=value):
                call = value.value if isinstance(value, ast.Await) else value
                if isinstance(call, ast.Call) and not _is_abort(statement) and not _is_log(call):
                    self._found.append(f"calls `{ast.unparse(call)}`")
            case ast.Return(value=value):
                if value is not None:
                    self._answer(value)
            case ast.With() | ast.AsyncWith():
                around = ", ".join(ast.unparse(item.context_expr) for item in statement.items)
                self._found.append(f"runs within `{around}`")
                self._block(statement.body)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                pass
            case _:
                for name, value in ast.iter_fields(statement):
                    if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                        self._block(value)
                    elif isinstance(value, list):
                        for handler in value:
                            if isinstance(handler, ast.ExceptHandler):
                                self._block(handler.body)
                    elif isinstance(value, ast.expr):
                        self._expression(value)

    def _answer(self, value: ast.expr) -> None:
        """What a `return` gives: the view's answer as it is, or a refusal."""
        match value:
            case ast.IfExp():
                self._expression(value.test)
                self._answer(value.body)
                self._answer(value.orelse)
            case ast.BoolOp():
                for part in value.values:
                    self._answer(part)
            case ast.Await():
                self._answer(value.value)
            case _ if any(self._is_view(node) for node in _walk([value])):
                if not self._is_view(value):
                    self._found.append(f"changes the answer: `{ast.unparse(value)}`")
                self._expression(value)

    def _expression(self, value: ast.expr) -> None:
        for node in _walk([value]):
            if self._is_view(node):
                assert isinstance(node, ast.Call)
                handed = [argument for argument in (*node.args, *(each.value for each in node.keywords if each.arg))
                          if not isinstance(argument, ast.Starred) and not (isinstance(argument, ast.Name) and argument.id in self._own)]
                self._found += [f"hands the view `{ast.unparse(argument)}`" for argument in handed]
            elif _is_write(node):
                self._found.append(f"calls `{ast.unparse(node)}`")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and self._writes(node.func.id, self._names, DEPTH):
                self._found.append(f"calls `{ast.unparse(node)}`, which writes")

    def _writes(self, name: str, names: Mapping[str, Any], depth: int) -> bool:
        """Whether a function of the decorator's own module writes."""
        function = names.get(name)
        if depth == 0 or not inspect.isfunction(function) or function.__globals__ is not names:
            return False
        source = _source(function)
        return source is not None and any(
            _is_write(node) or isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            and self._writes(node.func.id, names, depth - 1) for node in _walk(source.body))

    def _is_view(self, node: ast.AST) -> bool:
        """A call of what the decorator was given, or of something made of it."""
        return isinstance(node, ast.Call) and (
            isinstance(node.func, ast.Call) or isinstance(node.func, ast.Name) and node.func.id in self._enclosing
            or any(isinstance(argument, ast.Starred) for argument in node.args)
            or any(keyword.arg is None for keyword in node.keywords))


def _is_abort(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and _last_word(statement.value) == "abort"


def _is_log(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in LOGS and "log" in ast.unparse(call.func.value).lower()


def _is_write(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    statement = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
    return isinstance(node.func, ast.Attribute) and node.func.attr in WRITES or (
        isinstance(statement, str) and statement.lstrip().lower().startswith(STATEMENTS_THAT_WRITE))
