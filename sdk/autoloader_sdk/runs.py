"""Runs: one execution of an ingestion. Wait for it, follow it, cancel it, retry it, ask what failed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, overload

from autoloader_sdk._http.endpoint import (
    API,
    Async,
    Call,
    Item,
    L,
    Pause,
    Request,
    Resource,
    Step,
    Stream,
    Sync,
    all_pages,
    call,
    each_entry,
    ours_only,
    quoted,
    stream,
)
from autoloader_sdk.errors import AutoloaderError, NotFound, RunFailed, WaitTimeout
from autoloader_sdk.events import RunEvent, between
from autoloader_sdk.listing import Listing
from autoloader_sdk.models import FINISHED, UNENDED, RunData, RunError, RunLogLine, RunMetrics, RunReceipt, RunStatus
from autoloader_sdk.notebook import display

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from autoloader_sdk._http.endpoint import Reply
    from autoloader_sdk.prefect import FlowRun

#: How long a run that was just asked for may be unknown to the service, seconds.
_APPEARS_WITHIN = 60.0
#: How far the clocks of a service and of its runs may differ.
_SKEW = timedelta(seconds=2)
#: So long a service may be away while one of its runs is watched, seconds: it may be made anew meanwhile.
_OUTAGE = 300.0
# For one more look when a wait is over; a service that answers does so in less.
_LAST_LOOK = 1.0


class Run(Resource[L]):
    """One execution of an ingestion.

    `status` is queued, running, success, partial, failed or cancelled; a service may know others. `id` is
    empty until an older service tells it (see `reload`).
    """

    def __init__(
        self, link: L, data: RunData, *, asked_at: datetime | None = None, retry_of: str | None = None
    ) -> None:
        super().__init__(link)
        self.data = data
        self._asked_at = asked_at
        self._retry_of = retry_of
        self._asked_on = time.monotonic()
        self._seen = data.started_at is not None

    @property
    def id(self) -> str:
        """The run's id, a UUID."""
        return self.data.id

    @property
    def ingestion_id(self) -> str:
        """The ingestion that it is a run of."""
        return self.data.ingestion_id or ""

    @property
    def status(self) -> str:
        """The status when it was last asked for; `reload` asks again."""
        return self.data.status

    @property
    def trigger(self) -> str | None:
        """What started it: manual, scheduled, retry, refresh, release, drop, deletion, or another service's word."""
        return self.data.trigger

    @property
    def started_at(self) -> datetime | None:
        """When it started, in UTC."""
        return self.data.started_at

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, in UTC."""
        return self.data.ended_at

    @property
    def metrics(self) -> RunMetrics:
        """Files, rows, bytes and seconds of this run."""
        return self.data.metrics

    @property
    def errors(self) -> list[RunError]:
        """The files that failed, each with its reason. One without a `file` is of the run, or of a try of it."""
        return self.data.errors

    @property
    def message(self) -> str | None:
        """One sentence on how it ended, where there is one to say."""
        return self.data.message

    @property
    def warnings(self) -> list[str]:
        """What to know of it beside its errors: files held or failed before, columns added or ignored, bad records."""
        return self.data.warnings

    @property
    def done(self) -> bool:
        """Whether it has ended, well or badly."""
        return self.status in FINISHED or (self.ended_at is not None and self.status not in UNENDED)

    @property
    def ok(self) -> bool:
        """Whether it has ended, and no file failed in it; a rule may hold some."""
        return self.status in {RunStatus.SUCCESS, "completed"}

    @call
    def reload(self) -> Call[Run[L]]:
        """Ask the service how the run stands; returns the run itself.

            >>> flights.run().wait(progress=False).reload().done
            True

        Raises:
            NotFound: the service knows no such run.
        """
        yield from self._reload()
        return self

    @call
    def wait(
        self,
        timeout: float | None = None,
        *,
        poll: float | None = None,
        on_update: Callable[[Run[Any]], object] | None = None,
        check: bool = True,
        progress: bool | None = None,
    ) -> Call[Run[L]]:
        """Wait until the run has ended, and return it. A service that is away meanwhile is waited for five minutes.

            >>> run = flights.run().wait(timeout=60, progress=False)
            >>> run.ok
            True

        Args:
            timeout: seconds, 3600 unless given; the run itself goes on after it.
            poll: seconds between two looks; by default 0.1, growing to 2.
            on_update: called with the run whenever something about it changed.
            check: raise RunFailed for a run that failed or was cancelled. A partial one is returned.
            progress: False shows none, True all; by default a run of less than ten seconds leaves no line in a log.

        Raises:
            RunFailed: it ended as failed or cancelled.
            WaitTimeout: it has not ended in time.
            KeyboardInterrupt: Ctrl-C. The run of a service elsewhere goes on, and a line on stderr says how to find it.
        """
        given = 3600.0 if timeout is None else timeout
        for_caller = on_update or _ignore
        with _shown(wanted=progress) as show, self._word_on_ctrl_c():
            deadline = time.monotonic() + given
            step, before = 0.1 if poll is None else poll, ""
            outage = _Outage()
            while True:
                left = deadline - time.monotonic()
                if (yield from self._look(outage, max(left, _LAST_LOOK))):
                    show(self)
                    if (now := self._state) != before:
                        before = now
                        for_caller(self)
                    if self.done:
                        break
                left = deadline - time.monotonic()
                if left <= 0:
                    away = f" ({outage.error.message})" if outage.error is not None else ""
                    raise WaitTimeout(
                        f"run {self._called} is still {self.status} after {given:g} s and goes on{away}; "
                        "run.wait() waits for it again",
                        run=self,
                    ) from outage.error
                yield Pause(min(step, left))
                step = step if poll is not None else min(step * 1.2, 2.0)
        if check and self.status in {RunStatus.FAILED, RunStatus.CANCELLED}:
            raise RunFailed(str(self), run=self)
        return self

    @stream
    def follow(self, *, poll: float = 1.0) -> Stream[RunEvent]:
        """What happens in the run, as it happens, until it has ended.

            >>> for event in flights.run().follow(poll=0.1):
            ...     last = event
            >>> last.kind, last.run.status
            ('status', 'success')

        What has happened already comes first. `poll`: seconds between two looks. A service that is away meanwhile is
        waited for five minutes.
        """
        before: RunData | None = None
        outage = _Outage()
        with self._word_on_ctrl_c():
            while True:
                if (yield from self._look(outage)):
                    for event in between(before, self.data):
                        yield Item(event)
                    if self.done:
                        return
                    before = self.data
                yield Pause(poll)

    @stream
    def logs(self, *, follow: bool = False, poll: float = 1.0) -> Stream[RunLogLine]:
        """Its log, oldest line first, however it was started.

            >>> run = flights.run().wait(progress=False)
            >>> [line.message for line in run.logs()][0]
            'started (manual)'

        Args:
            follow: go on until the run has ended, with each line as it is written.
            poll: seconds between two looks.

        Raises:
            NotFound: the service knows no such run.
            NotSupported: the service is an older one, which keeps no logs.
        """
        last = 0
        service, log = _Outage(), _Outage()
        with self._word_on_ctrl_c() if follow else nullcontext():
            while True:
                if follow:
                    yield from self._look(service)
                else:
                    yield from self._reload(appearing=True)
                # A line may be written after the look at the run that finds it ended, and before it is asked for.
                over = self.done or not follow
                following: str | None = f"{self._path}/logs"
                params = {"after": str(last)}
                while following is not None:
                    try:
                        reply = yield from ours_only(Request("GET", following, params), "keeps no logs of runs")
                    except AutoloaderError as error:
                        if not follow or log.over(error):
                            raise
                        over = False
                        break
                    log.end()
                    for line in reply.entries(RunLogLine):
                        last = max(last, line.id)
                        yield Item(line)
                    following, params = reply.next_path, {}
                if over:
                    return
                yield Pause(poll)

    @call
    def cancel(self) -> Call[Run[L]]:
        """Ask the service to end the run; what it has not published by then is loaded by a later one.

            >>> run = flights.run().wait(progress=False)
            >>> run.cancel().status  # it had ended before
            'success'

        Raises:
            NotSupported: the service is an older one, which ends no runs.
        """
        yield from ours_only(Request("POST", f"{self._path}/cancel", safe=True), "ends no runs")
        yield from self._reload()
        return self

    @call
    def retry(self, *, idempotency_key: str | None = None) -> Call[Run[L]]:
        """Start a new run over the files that failed in this one, and what is new since, and return that.

            >>> run = flights.run().wait(progress=False)
            >>> run.retry().wait(progress=False).trigger
            'retry'

        Args:
            idempotency_key: as for `Ingestion.run`.

        Raises:
            Conflict: the run goes on, or the ingestion is paused.
        """
        reply = yield Request("POST", f"{self._path}/retry", key=idempotency_key)
        return from_receipt(self._link, self.ingestion_id, reply)

    @overload
    def flow_run(self: Run[Sync]) -> FlowRun[Sync]: ...
    @overload
    def flow_run(self: Run[Async]) -> Coroutine[Any, Any, FlowRun[Async]]: ...
    def flow_run(self: Run[Any]) -> Any:
        """The flow run of Prefect that carried it out, from the server of PREFECT_API_URL.

        Raises:
            NotFound: the service carried it out by itself, or Prefect knows the flow run no more.
            AutoloaderError: PREFECT_API_URL is not set.
        """
        if self.data.flow_run_id is None:
            raise NotFound(f"run {self._called} was carried out by the service itself: there is no flow run of it")
        return self._link.prefect().flow_runs.get(self.data.flow_run_id)

    @property
    def _path(self) -> str:
        return f"{API}/ingestions/{quoted(self.ingestion_id)}/runs/{quoted(self.id)}"

    @property
    def _state(self) -> str:
        """What makes two looks differ; that time went by does not."""
        return self.data.model_dump_json(exclude={"metrics": {"duration_seconds"}})

    @property
    def _called(self) -> str:
        return self.id or f"of {self.ingestion_id}"

    @contextmanager
    def _word_on_ctrl_c(self) -> Iterator[None]:
        """Ctrl-C leaves the run of a service elsewhere going: a line on stderr says how to find it again.

        So does a cancellation, which asyncio makes of Ctrl-C.
        """
        try:
            yield
        except BaseException as ended:
            from asyncio import CancelledError

            if isinstance(ended, KeyboardInterrupt | CancelledError) and not (self._link.within or self.done):
                from autoloader_sdk.notebook.progress import say

                say(f"run {self._called} goes on; {self._found_by}.wait() waits for it again, .cancel() ends it")
            raise

    @property
    def _found_by(self) -> str:
        return f"client.runs.get({self.ingestion_id!r}, {self.id!r})"

    def _look(self, outage: _Outage, seconds: float | None = None) -> Generator[Step, Reply, bool]:
        """As `_reload`; False where the service is away, which may be so for a while: the run goes on without it."""
        try:
            yield from self._reload(appearing=True, seconds=seconds)
        except AutoloaderError as error:
            if outage.over(error):
                if error.outage and self.id:
                    error.add_note(f"run {self.id} may go on: {self._found_by}.wait() waits for it again")
                raise
            return False
        outage.end()
        return True

    def _reload(self, *, appearing: bool = False, seconds: float | None = None) -> Generator[Step, Reply, None]:
        """Take over what the service says; `appearing`: a run just asked for may not be there yet."""
        try:
            if self.id:
                reply = yield Request("GET", self._path, seconds=seconds)
                self._take(reply.read(RunData, ingestion_id=self.data.ingestion_id))
            else:
                yield from self._find(seconds)
        except NotFound:
            young = time.monotonic() - self._asked_on < _APPEARS_WITHIN
            if self._seen or not (appearing and young):
                raise

    def _find(self, seconds: float | None) -> Generator[Step, Reply, None]:
        """The run that an older service started without telling its id: the newest since it was asked for."""
        params = {"days": "1", "limit": "20"}
        reply = yield Request("GET", f"{API}/ingestions/{quoted(self.ingestion_id)}/runs", params, seconds=seconds)
        for found in reply.entries(RunData, ingestion_id=self.ingestion_id):
            started = found.started_at
            since = self._asked_at is None or (started is not None and started >= self._asked_at - _SKEW)
            if since and found.id != self._retry_of:
                self._take(found)
                return
        raise NotFound(f"the service has not said which run of {self.ingestion_id} it started")

    def _take(self, data: RunData) -> None:
        self.data = data
        self._seen = True

    def __repr__(self) -> str:
        return f"<Run {self._called}: {self.status}>"

    def __str__(self) -> str:
        return display.run_text(self.data)

    def _repr_html_(self) -> str:
        return display.run_html(self.data)


class _Outage:
    """Since when a service has not answered, and what it last failed with."""

    def __init__(self) -> None:
        self._since: float | None = None
        self.error: AutoloaderError | None = None

    def over(self, error: AutoloaderError) -> bool:
        """Whether an error is to be raised: it is no outage, or one that lasts too long."""
        now = time.monotonic()
        self._since, self.error = now if self._since is None else self._since, error
        return not error.outage or now - self._since > _OUTAGE

    def end(self) -> None:
        """It has answered again."""
        self._since, self.error = None, None


def from_receipt(link: L, ingestion_id: str, reply: Reply) -> Run[L]:
    """The run that a receipt of either generation promises."""
    receipt = reply.read(RunReceipt) if reply.body is not None else RunReceipt()
    told = {
        "id": receipt.run_id or "",
        "ingestion_id": ingestion_id,
        "status": receipt.status or RunStatus.QUEUED.value,
    }
    more = {"flow_run_id": receipt.flow_run_id, "message": receipt.message, "warnings": receipt.warnings}
    run = RunData.model_validate({**told, **more})
    return Run(link, run, asked_at=reply.date, retry_of=receipt.original_run_id)


class Runs(Resource[L]):
    """The runs of the service's ingestions."""

    @call
    def get(self, ingestion_id: str, run_id: str) -> Call[Run[L]]:
        """One run of an ingestion, which is told by its id or its name.

            >>> run = flights.run()
            >>> client.runs.get("flights", run.id).id == run.id
            True

        Raises:
            NotFound: there is no such run of that ingestion, or no such ingestion.
        """
        whose = yield from self._id_of(ingestion_id)
        reply = yield Request("GET", f"{API}/ingestions/{quoted(whose)}/runs/{quoted(run_id)}")
        return Run(self._link, reply.read(RunData, ingestion_id=whose))

    @call
    def list(self, ingestion_id: str, *, days: int = 30, limit: int = 100) -> Call[Listing[Run[L]]]:
        """The runs of the last `days` days, newest first, at most `limit`; of an ingestion, by its id or its name.

            >>> list(client.runs.list("flights"))
            []

        Raises:
            NotFound: there is no ingestion of that name. Of an id that nobody has there are no runs.
        """
        return (yield from list_runs(self._link, (yield from self._id_of(ingestion_id)), days, limit))

    def _id_of(self, id_or_name: str) -> Generator[Step, Reply, str]:
        from autoloader_sdk.ingestions import Ingestion, Ingestions, is_id

        if is_id(id_or_name):
            return id_or_name
        found: Ingestion[Any] = yield from Ingestions.get.function(Ingestions(self._link), id_or_name)
        return found.id


# The most that a service gives in one answer.
_PAGE = 1_000
# As many days as a service counts: all runs that it knows of.
_EVER = 36_500


class RunsOf(Resource[L]):
    """The runs of one ingestion, newest first. A loop over it reads them all, page by page as it goes on."""

    def __init__(self, link: L, ingestion_id: str) -> None:
        super().__init__(link)
        self._ingestion_id = ingestion_id

    @call
    def __call__(self, *, days: int = 30, limit: int = 100) -> Call[Listing[Run[L]]]:
        """Those of the last `days` days, newest first, at most `limit`.

        >>> run = flights.run().wait(progress=False)
        >>> flights.runs()[0].id == run.id
        True
        """
        return (yield from list_runs(self._link, self._ingestion_id, days, limit))

    @stream
    def _each(self) -> Stream[Run[L]]:
        request = _runs_of(self._ingestion_id, _EVER, _PAGE)
        known = {"ingestion_id": self._ingestion_id}
        yield from each_entry(request, RunData, lambda data: Run(self._link, data), **known)

    def __iter__(self: RunsOf[Sync]) -> Iterator[Run[Sync]]:
        return self._each()

    def __aiter__(self: RunsOf[Async]) -> AsyncIterator[Run[Async]]:
        return self._each()

    def __repr__(self) -> str:
        return f"<runs of {self._ingestion_id}>"


def list_runs(link: L, ingestion_id: str, days: int, limit: int) -> Call[Listing[Run[L]]]:
    """The runs of one ingestion, newest first."""
    request = _runs_of(ingestion_id, days, min(limit, _PAGE))
    found = yield from all_pages(request, RunData, most=limit, ingestion_id=ingestion_id)
    return Listing(Run(link, data) for data in found)


def _runs_of(ingestion_id: str, days: int, page: int) -> Request:
    params = {"days": str(days), "limit": str(page)}
    return Request("GET", f"{API}/ingestions/{quoted(ingestion_id)}/runs", params)


@contextmanager
def _shown(*, wanted: bool | None) -> Iterator[Callable[[Run[Any]], object]]:
    """Where progress goes."""
    if wanted is False:
        yield _ignore
        return
    from autoloader_sdk.notebook.progress import progress

    with progress(always=bool(wanted)) as show:
        yield lambda run: show(run.data)


def _ignore(_: object) -> None:
    return
