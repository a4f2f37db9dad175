"""`defer`: a decorator of Console's own that steps back where the gate has decided by V2.

The part that knows no web framework. A framework gives a `Judge`: for one deferred decorator and the request at hand,
it says whether the gate's decision counts (`Ruling.GATE`), Console's own check does (`Ruling.OWN`), or both are to be
compared (`Ruling.COMPARE`). Whatever is unclear is `OWN`, so the worst that a mistake here does is what happened
without the gate.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import logging
import re
from contextvars import ContextVar
from enum import Enum
from typing import Any, Callable, Iterator, Protocol, Sequence

from console_gate.effects import effects

log = logging.getLogger("console_gate")
View = Callable[..., Any]


class Ruling(Enum):
    """Who decides one call of a deferred decorator."""

    OWN = "own"
    GATE = "gate"
    COMPARE = "compare"


class Mode(Enum):
    """How far Console's own checks step back."""

    ENFORCE = "enforce"
    """Where the gate decided by V2."""
    SHADOW = "shadow"
    """Nowhere; what the gate let in and Console's own check stops is reported."""
    TRUST = "trust"
    """Where the gate decided by V2 or by the legacy roles."""

    def gates(self) -> frozenset[str]:
        """The values of the claim `gate` that count."""
        return frozenset({"v2"}) if self is Mode.ENFORCE else frozenset({"v2", "legacy"})


class Judge(Protocol):
    """What a framework gives."""

    refusals: tuple[type[BaseException], ...]
    """The exceptions by which a check stops a request: `abort(403)`."""

    def ruling(self, deferred: View, args: tuple[Any, ...]) -> Ruling:
        """Who decides this call. `deferred` is the wrapped view that was called, with `args`."""

    def disagreed(self, deferred: View, args: tuple[Any, ...]) -> None:
        """The gate let the request in, and Console's own check did not let the view run."""

    def call(self, view: View, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a view from a synchronous decorator; the view may be async."""


class _UnderWay:
    """A deferred decorator whose check runs. One may use another, as `machine_auth_or_session` uses `require_role`: a view
    says to its own decorator that it runs, and to no other, and a refusal within is reported once."""

    def __init__(self, mark: object) -> None:
        self.mark, self.ran, self.is_reported = mark, False, False


_under_way: ContextVar[tuple[_UnderWay, ...]] = ContextVar("console_gate_under_way", default=())


@contextlib.contextmanager
def _compared(judge: Judge, deferred: View, args: tuple[Any, ...], mark: object) -> Iterator[None]:
    """Reports to the judge if Console's own check ends without running the view, by an answer or by an exception of its
    framework. Any other exception says nothing about roles. `mark` is the decorator's, whose view says that it runs."""
    around, this = _under_way.get(), _UnderWay(mark)
    before = _under_way.set((*around, this))
    refused = True
    try:
        yield
    except judge.refusals:
        raise
    except BaseException:
        refused = False
        raise
    finally:
        _under_way.reset(before)
        if refused and not this.ran and not this.is_reported:
            for other in around:
                other.is_reported = True
            judge.disagreed(deferred, args)


class _Answers:
    """A deferred decorator whose own code runs for a request that the gate has decided: its role checks are answered."""

    def __init__(self) -> None:
        self.asked = self.ran = False


_answers: ContextVar[_Answers | None] = ContextVar("console_gate_answers", default=None)


@contextlib.contextmanager
def _answering(answers: _Answers | None) -> Iterator[None]:
    before = _answers.set(answers)
    try:
        yield
    finally:
        _answers.reset(before)


def role_check(check: View | None = None, *, allowed: Any = True) -> View:
    """Marks the function by which a decorator asks for a role: `has_role = role_check(has_role)`, or above a method.

    Where the gate has decided by V2 and the own code of a deferred decorator asks it, it returns `allowed` without asking;
    everywhere else, in the view itself too, it is what it was. A check that returns the refusal, or None, has `allowed=None`.
    """
    if check is None:
        return functools.partial(role_check, allowed=allowed)

    def is_answered() -> bool:
        answers = _answers.get()
        if answers is not None:
            answers.asked = True
        return answers is not None

    if is_async(check):
        @functools.wraps(check)
        async def answered_async(*args: Any, **kwargs: Any) -> Any:
            return allowed if is_answered() else await check(*args, **kwargs)
        return answered_async

    @functools.wraps(check)
    def answered(*args: Any, **kwargs: Any) -> Any:
        return allowed if is_answered() else check(*args, **kwargs)
    return answered


def _says_that_it_runs(view: View, mark: object) -> View:
    """The view, which also says that Console's own check let it run. What it checks by itself is not answered."""
    def say() -> None:
        answers = _answers.get()
        if answers is not None:
            answers.ran = True
        for decorator in _under_way.get():
            if decorator.mark is mark:
                decorator.ran = True

    if is_async(view):
        @functools.wraps(view)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            say()
            with _answering(None):
                return await view(*args, **kwargs)
        return run_async

    @functools.wraps(view)
    def run(*args: Any, **kwargs: Any) -> Any:
        say()
        with _answering(None):
            return view(*args, **kwargs)
    return run


class _Instead:
    """What runs of a deferred decorator where the gate has decided: its own code with its role checks answered, or `keep`."""

    def __init__(self, decorator: View, keep: Sequence[View] | None, own_code: bool) -> None:
        self.name = getattr(decorator, "__qualname__", "a decorator")
        self.keep = tuple(keep or ())
        if own_code and keep is not None:
            raise TypeError("`keep` is for a decorator whose own code does not run")
        found = () if own_code or keep is not None else effects(decorator)
        self.own_code = own_code or bool(found)
        self._warned = False
        if found:
            log.warning("`%s` does more than refuse: it %s. So its own code runs where the gate has decided, too, and asks for its "
                        "own roles, unless what asks is marked with `role_check`. Say `own_code=True` where that is meant, or "
                        "`keep=(...)`: what has to run of it, which may be nothing", self.name, "; ".join(found[:5]))

    def answered(self, own: View, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Its own code, with its role checks answered."""
        answers = _Answers()
        with _answering(answers):
            answer = own(*args, **kwargs)
        if inspect.isawaitable(answer):
            return self.awaited(answer, answers)
        self._say_if_unasked(answers)
        return answer

    async def awaited(self, own: Any, answers: _Answers) -> Any:
        """The same for code that is awaited."""
        with _answering(answers):
            answer = await own
        self._say_if_unasked(answers)
        return answer

    def _say_if_unasked(self, answers: _Answers) -> None:
        """Without a marked check, its own code lets nobody in whom V2 alone lets in."""
        if not answers.ran and not answers.asked and not self._warned:
            self._warned = True
            log.warning("the own code of `%s` refused a request that the gate let in, before it asked a check that is marked "
                        "with `role_check`", self.name)


def defer_with(judge: Judge, decorator: View, keep: Sequence[View] | None = None, own_code: bool = False) -> View:
    """`decorator` as it is used today, `@decorator` or `@decorator(...)`, deferring to the gate.

    Where the gate has decided, a decorator that does no more than refuse is left out. Of any other the own code runs, and
    only what is marked with `role_check` is answered; `own_code=True` says so of any. With `keep`, the functions of it run
    instead, without arguments and in this order: what one of them returns is the answer, unless it is None.
    """
    instead = _Instead(decorator, keep, own_code)

    @functools.wraps(decorator)
    def deferring(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and is_view(args[0]):
            return _wrap(judge, decorator, args[0], instead)
        decorate = decorator(*args, **kwargs)
        if isinstance(decorate, type):
            return decorate  # a decorator of a class, whose methods have checks of their own

        @functools.wraps(decorate)
        def decorate_deferring(view: View) -> View:
            return _wrap(judge, decorate, view, instead)
        return decorate_deferring
    return deferring


def is_async(function: View) -> bool:
    """Whether a call gives something to await. Before Python 3.12 asgiref marks what is no `async def` like asyncio."""
    mark = getattr(asyncio.coroutines, "_is_coroutine", None)
    return inspect.iscoroutinefunction(function) or (
        mark is not None and getattr(function, "_is_coroutine", None) is mark)


def is_view(argument: Any) -> bool:
    """Whether the only argument of a decorator is the view itself: `@machine_auth` and not `@require_role(Role.X)`."""
    return callable(argument) and not isinstance(argument, (type, Enum))


def _wrap(judge: Judge, decorate: Callable[[View], View], view: View, instead: _Instead) -> View:
    mark = object()
    own = decorate(_says_that_it_runs(view, mark))
    if not callable(own):
        return own

    if is_async(own):
        @functools.wraps(own)
        async def deferred_async(*args: Any, **kwargs: Any) -> Any:
            ruling = judge.ruling(deferred_async, args)
            if ruling is Ruling.GATE and not instead.own_code:
                for kept in instead.keep:
                    answer = kept()
                    answer = await answer if inspect.isawaitable(answer) else answer
                    if answer is not None:
                        return answer
                answer = view(*args, **kwargs)
                return await answer if inspect.isawaitable(answer) else answer
            if ruling is Ruling.OWN:
                return await own(*args, **kwargs)
            if ruling is Ruling.GATE:
                return await instead.awaited(own(*args, **kwargs), _Answers())
            with _compared(judge, deferred_async, args, mark):
                return await own(*args, **kwargs)
        deferred: View = deferred_async
    else:
        @functools.wraps(own)
        def deferred_sync(*args: Any, **kwargs: Any) -> Any:
            ruling = judge.ruling(deferred_sync, args)
            if ruling is Ruling.GATE and not instead.own_code:
                for kept in instead.keep:
                    answer = judge.call(kept, (), {})
                    if answer is not None:
                        return answer
                return judge.call(view, args, kwargs)
            if ruling is Ruling.OWN:
                return own(*args, **kwargs)
            if ruling is Ruling.GATE:
                return instead.answered(own, args, kwargs)
            with _compared(judge, deferred_sync, args, mark):
                return own(*args, **kwargs)
        deferred = deferred_sync
    # A decorator without `functools.wraps` would end the chain by which a view is recognised.
    deferred.__wrapped__ = view  # type: ignore[attr-defined]
    return deferred


def is_on_view(deferred: View, view: View, method: str) -> bool:
    """Whether a deferred decorator is on the view that the router chose, and not on something that the view calls.

    A check that is called from within a view guards more than the route, `if target == "production": deploy()`, and
    the gate has decided the route. Only `__wrapped__` is followed, which `functools.wraps` sets.
    """
    inner, chosen = innermost(deferred), innermost(view)
    if inner is None or chosen is None:
        return False
    if inner is chosen:
        return True
    # Flask's and Django's class-based views: the decorator may be on a method, or on `dispatch`. Where the class has
    # `decorators`, Flask puts `view_class` on the outermost of them.
    kind = next((found for each in chain(view) if (found := getattr(each, "view_class", None)) is not None), None)
    names = ("dispatch", "dispatch_request", method.lower(), "get" if method == "HEAD" else method.lower())
    methods = (getattr(kind, name, None) for name in names) if isinstance(kind, type) else ()
    return any(function is not None and innermost(function) is inner for function in methods)


def innermost(function: View) -> View | None:
    """The function inside all decorators; None if they go round in a circle."""
    try:
        function = inspect.unwrap(function)
    except ValueError:
        return None
    return getattr(function, "__func__", function)


def chain(function: View) -> Iterator[View]:
    """A function and what it wraps, the outermost first. Only for one that does not go round in a circle."""
    while True:
        yield function
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is None:
            return
        function = wrapped


VARIABLE = re.compile(r"<(?:(?P<converter>[a-zA-Z_]\w*)(?:\((?P<arguments>[^>]*)\))?:)?[a-zA-Z_]\w*>")
SAME_CONVERTERS = {"default": "string", "str": "string", "": "string"}


@functools.lru_cache(maxsize=4096)
def is_same_route(row: str, method: str, rule: str) -> bool:
    """Whether the gate's row, `GET /customers/<uuid:id>`, is the rule by which the router chose the view.

    The names of variables do not matter; their converters do, because a row that accepts more than the rule was
    decided for other paths too. A prefix row (`/*`) names no rule.
    """
    methods, _, pattern = row.partition(" ")
    allowed = methods.split(",")
    if method not in allowed and not (method == "HEAD" and "GET" in allowed) and methods != "*":
        return False
    return bool(pattern) and shape(pattern) == shape(rule)


def shape(rule: str) -> str:
    """A rule without the names of its variables."""
    def variable(match: re.Match[str]) -> str:
        converter = match["converter"] or ""
        arguments = re.sub(r"\s+", "", match["arguments"] or "")
        return f"<{SAME_CONVERTERS.get(converter, converter)}({arguments})>"
    return VARIABLE.sub(variable, rule)
