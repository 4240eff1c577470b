"""A call to a service, written once and run plainly by `Client` or awaited by `AsyncClient`.

A call is a generator: it yields what it wants done (a `Request`, or a `Pause`), is resumed with the `Reply`,
and returns its result. A stream yields an `Item` for each result in between. Neither knows whether it is
waited for or awaited: that is up to the link (`Sync` or `Async`) of the record that it is called on. httpx
does the same with its authentication flows, psycopg with its wire protocol.

    class Things(Resource[L]):
        @call
        def get(self, name: str) -> Call[Thing[L]]:
            reply = yield Request("GET", f"/things/{quoted(name)}")
            return Thing(self._link, reply.body)

`Things[Sync].get("a")` is a `Thing[Sync]`, `Things[Async].get("a")` is a coroutine of a `Thing[Async]`; type
checkers see both.
"""

from __future__ import annotations

import functools
import types
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeAlias, TypeVar, overload
from urllib.parse import quote

from typing_extensions import TypeVar as DefaultTypeVar

from autoloader_sdk._http.service import AUTOLOADER, Service
from autoloader_sdk.errors import ApiError, AutoloaderError, NotFound, NotSupported

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pyspark.sql.connect.session import SparkSession

    from autoloader_sdk._http.address import Address
    from autoloader_sdk.config import Secret

API = AUTOLOADER.root

T = TypeVar("T")
S = TypeVar("S")
P = ParamSpec("P")
M = TypeVar("M", bound="BaseModel")

#: With so many values of another kind an answer is another service's.
_MOST_ODD = 100


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `path` is below the service's address.

    `safe`: sent twice it does what it does once; None: as its method says. A POST is not, and carries a key by which a
    service that knows such keys tells that it was sent before; False: it is never sent twice. `key`: the caller's own.
    `seconds`: how long an answer is waited for, where that is less than the client's time-out; whoever says it asks
    again by itself, and no failure is tried again here.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    safe: bool | None = None
    key: str | None = None
    seconds: float | None = None

    @property
    def keyed(self) -> bool:
        """Whether it needs a key to be sent twice."""
        return self.method == "POST" and self.safe is None

    def repeatable(self, *, ours: bool) -> bool:
        """Whether it may be sent twice to a service that is `ours`, or to another one."""
        if self.seconds is not None:
            return False
        return ours if self.keyed else self.safe is not False


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing, for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """One result of a stream."""

    value: T


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer: its JSON, the path of the next page, the service's clock, and what an error tells of it."""

    status: int = 204
    body: Any = None
    next_path: str | None = None
    date: datetime | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    ours: bool = False
    """Whether the service is one that says its version: an older one knows nothing beyond the first contract."""
    service: Service = AUTOLOADER

    def read(self, model: type[M], **known: Any) -> M:
        """The answer as a model; what is `known` stands where the answer does not say it.

        Raises ApiError where it is JSON of another kind.
        """
        return self._as(model, self.body, known)

    def entries(self, model: type[M], **known: Any) -> list[M]:
        """The answer as a list of models; none where it is null. Raises ApiError where it is JSON of another kind."""
        if not isinstance(self.body, list | None):
            raise self._other("the answer should be a list, and is none")
        return [self._as(model, entry, known) for entry in self.body or []]

    def value(self, kind: type[T]) -> T:
        """The answer as a bare text, number or truth value. Raises ApiError where it is something else."""
        if not isinstance(self.body, kind):
            raise self._other(f"the answer is not what {self.service.name} sends")
        return self.body

    def _as(self, model: type[M], body: Any, known: Mapping[str, Any]) -> M:
        from pydantic import ValidationError

        left: Any = {**known, **body} if isinstance(body, dict) else body
        for tries_left in reversed(range(_MOST_ODD)):
            try:
                return model.model_validate(left)
            except ValidationError as error:
                line = error.errors(include_url=False, include_input=False)[0]
                # A value of another kind is as if it had not been sent, and one odd row hides no other.
                fewer = _without(left, line["loc"], absent=line["type"] == "missing")
                if fewer is None or not tries_left:
                    where = f"{'.'.join(map(str, line['loc']))}: " if line["loc"] else ""
                    what = f"the answer is not what {self.service.name} sends ({where}{line['msg']})"
                    raise self._other(what) from None
                left = fewer
        raise AssertionError("the last try returns or raises")

    def _other(self, what: str) -> ApiError:
        return ApiError(f"{what}; is {self.service.setting} the address of {self.service.name}?", **self.told)


def _without(body: Any, loc: tuple[int | str, ...], *, absent: bool) -> Any:
    """A copy of JSON without the value that a fault is about, at `loc`; None where there is no such value.

    `absent`: the fault is that it is not there; then that which lacks it goes.
    """
    there: list[Any] = []
    value: Any = body
    for key in loc:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            break
        there.append(key)
    if not there or (absent and len(there) == len(loc)):
        return None
    copy = body.copy()
    inner = copy
    for key in there[:-1]:
        inner[key] = inner[key].copy()
        inner = inner[key]
    del inner[there[-1]]
    return copy


Step: TypeAlias = Request | Pause
Call: TypeAlias = Generator[Step, Reply, T]
Stream: TypeAlias = Generator[Step | Item[T], Reply, None]

_NOTHING = Reply()


def all_pages(
    request: Request, model: type[M], *, most: int | None = None, what: str | None = None, **known: Any
) -> Call[list[M]]:
    """The entries of a list, page after page to its end, or to `most` of them; `what`: as in `ours_only`."""
    found: list[M] = []
    following: Request | None = request
    while following is not None and (most is None or len(found) < most):
        reply = (yield following) if what is None else (yield from ours_only(following, what))
        found += reply.entries(model, **known)
        following = Request("GET", reply.next_path) if reply.next_path else None
    return found[:most]


def each_entry(
    request: Request, model: type[M], make: Callable[[M], T], *, what: str | None = None, **known: Any
) -> Stream[T]:
    """What `make` makes of each entry of a list, page by page as they are asked for; `what`: as in `ours_only`."""
    following: Request | None = request
    while following is not None:
        reply = (yield following) if what is None else (yield from ours_only(following, what))
        for data in reply.entries(model, **known):
            yield Item(make(data))
        following = Request("GET", reply.next_path) if reply.next_path else None


def ours_only(request: Request, what: str) -> Call[Reply]:
    """What only a service of ours can. Raises NotSupported where another one does not know the path."""
    try:
        return (yield request)
    except NotFound as error:
        if error.missing != "path":
            raise
        why = f"this service {what}: it is an older one"
        raise NotSupported(why, status=error.status, method=error.method, url=error.url) from error


def quoted(part: str) -> str:
    """An id as one segment of a path."""
    return quote(part, safe="")


class Link(ABC):
    """The way to one service: how steps are done, and how Spark is reached beside it."""

    #: The service's, with the settings that lead there.
    address: Address
    #: Whether what the service does ends with this process.
    within: bool = False

    @abstractmethod
    def spark_session(
        self, cluster_id: str | None, url: str | None, *, token: str | Secret | None = None, catalog: str | None = None
    ) -> SparkSession:
        """A session on a cluster, where its tables can be read; `url` is its Spark Connect address."""


class Sync(Link):
    """A link that waits for each step."""

    @abstractmethod
    def perform(self, step: Step) -> Reply | AutoloaderError:
        """Do one step. An error is handed back, not raised: the call may want to handle it."""

    def _performed(self, step: Step, steps: Generator[Any, Reply, Any]) -> Reply | AutoloaderError:
        try:
            return self.perform(step)
        except KeyboardInterrupt as ctrl_c:
            steps.throw(ctrl_c)  # the call may have a last word
            raise

    def run(self, steps: Call[T]) -> T:
        """Drive a call to its result."""
        with closing(steps):
            try:
                step = next(steps)
                while True:
                    step = _resume(steps, self._performed(step, steps))
            except StopIteration as stop:
                result: T = stop.value
                return result

    def iterate(self, steps: Stream[T]) -> Iterator[T]:
        """Drive a stream, handing on its items as they come."""
        with closing(steps):
            try:
                step = next(steps)
                while True:
                    if isinstance(step, Item):
                        yield step.value
                        step = steps.send(_NOTHING)
                    else:
                        step = _resume(steps, self._performed(step, steps))
            except StopIteration:
                return


class Async(Link):
    """A link that awaits each step."""

    @abstractmethod
    async def perform(self, step: Step) -> Reply | AutoloaderError:
        """Do one step. An error is handed back, not raised: the call may want to handle it."""

    async def _performed(self, step: Step, steps: Generator[Any, Reply, Any]) -> Reply | AutoloaderError:
        try:
            return await self.perform(step)
        except BaseException as ended:  # as Ctrl-C: asyncio makes a cancellation of it
            steps.throw(ended)  # the call may have a last word
            raise

    async def run(self, steps: Call[T]) -> T:
        """Drive a call to its result."""
        with closing(steps):
            try:
                step = next(steps)
                while True:
                    step = _resume(steps, await self._performed(step, steps))
            except StopIteration as stop:
                result: T = stop.value
                return result

    async def iterate(self, steps: Stream[T]) -> AsyncIterator[T]:
        """Drive a stream, handing on its items as they come."""
        with closing(steps):
            try:
                step = next(steps)
                while True:
                    if isinstance(step, Item):
                        yield step.value
                        step = steps.send(_NOTHING)
                    else:
                        step = _resume(steps, await self._performed(step, steps))
            except StopIteration:
                return


def _resume(steps: Generator[S, Reply, Any], outcome: Reply | AutoloaderError) -> S:
    return steps.throw(outcome) if isinstance(outcome, AutoloaderError) else steps.send(outcome)


L = DefaultTypeVar("L", bound=Link, default=Sync)


class Resource(Generic[L]):
    """Anything whose calls go to a service; `dir` shows its nouns and verbs."""

    def __init__(self, link: L) -> None:
        self._link = link

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]

    def __repr__(self) -> str:
        kinds = [vars(kind) for kind in type(self).__mro__]
        verbs = {name for kind in kinds for name, member in kind.items() if isinstance(member, call | stream)}
        return f"<{type(self).__name__}: {', '.join(sorted(name for name in verbs if not name.startswith('_')))}>"

    def _repr_html_(self) -> str:
        from autoloader_sdk.notebook import display

        return display.text_html(repr(self))


class Root(Resource[L]):
    """A client: where the resources of one service begin."""

    def __repr__(self) -> str:
        name = type(self).__name__
        link = getattr(self, "_link", None)  # in a traceback it may be half made
        return f"<{name} {link.address!r}>" if link else f"<{name}>"


class call(Generic[P, T]):  # noqa: N801 - a decorator
    """A method that is a `Call`: plain on a synchronous record, awaitable on an asynchronous one."""

    def __init__(self, function: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, record: None, owner: type) -> call[P, T]: ...
    @overload
    def __get__(self, record: Resource[Sync], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, record: Resource[Async], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, record: Resource[Any] | None, owner: type) -> Any:
        return self if record is None else _bound(self.function, record, record._link.run)  # noqa: SLF001 - its own


class stream(Generic[P, T]):  # noqa: N801 - a decorator
    """A method that is a `Stream`: an iterator on a synchronous record, an asynchronous one on the other."""

    def __init__(self, function: Callable[Concatenate[Any, P], Stream[T]]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, record: None, owner: type) -> stream[P, T]: ...
    @overload
    def __get__(self, record: Resource[Sync], owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, record: Resource[Async], owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, record: Resource[Any] | None, owner: type) -> Any:
        return self if record is None else _bound(self.function, record, record._link.iterate)  # noqa: SLF001 - its own


def _bound(function: Callable[..., Any], record: Any, drive: Callable[[Any], Any]) -> Callable[..., Any]:
    method = types.MethodType(function, record)

    def bound(*args: Any, **kwargs: Any) -> Any:
        return drive(method(*args, **kwargs))

    return functools.update_wrapper(bound, method)  # keeps name, docstring and signature for `?` and help()
