"""Flow runs: one execution of a flow. Wait for it, follow its log, cancel it, run it again."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from autoloader_sdk._http.endpoint import Call, Item, L, Pause, Request, Resource, Step, Stream, call, quoted, stream
from autoloader_sdk.errors import Conflict, RunFailed, WaitTimeout
from autoloader_sdk.prefect import display
from autoloader_sdk.prefect.models import ENDED, GOING, FlowRunData, LogLine, SetStateData, StateData
from autoloader_sdk.prefect.paging import Pages
from autoloader_sdk.prefect.requests import NewState, ident, invalid
from autoloader_sdk.shorthand import checked

if TYPE_CHECKING:
    from collections.abc import Generator

    from autoloader_sdk._http.endpoint import Reply
    from autoloader_sdk.prefect.deployments import Deployment

#: Seconds that a call waits for a run unless told.
_PATIENCE = 3600.0


# Prefect's words for a state that is set once more, with the same id.
_DONE_BEFORE = "This run has already made this state transition."


class FlowRun(Resource[L]):
    """One execution of a flow.

    `state` is what it was when it was last asked for: its `type` is SCHEDULED, PENDING, RUNNING, PAUSED, CANCELLING,
    COMPLETED, FAILED, CANCELLED, CRASHED, or what a later server calls it; its `name` says more (Late, AwaitingRetry).
    """

    def __init__(self, link: L, data: FlowRunData) -> None:
        super().__init__(link)
        self.data = data

    @property
    def id(self) -> str:
        """A UUID."""
        return self.data.id

    @property
    def name(self) -> str:
        """Its name for people."""
        return self.data.name

    @property
    def state(self) -> StateData:
        """The state when it was last asked for; `reload` asks again."""
        data = self.data
        return data.state or StateData(type=data.state_type or "", name=data.state_name)

    @property
    def deployment_id(self) -> str | None:
        """The deployment that it is a run of, if any."""
        return self.data.deployment_id

    @property
    def parameters(self) -> dict[str, Any]:
        """What the flow is called with."""
        return self.data.parameters or {}

    @property
    def expected_start_time(self) -> datetime | None:
        """When it was due, in UTC."""
        return self.data.expected_start_time

    @property
    def start_time(self) -> datetime | None:
        """When it started, in UTC."""
        return self.data.start_time

    @property
    def end_time(self) -> datetime | None:
        """When it ended, in UTC."""
        return self.data.end_time

    @property
    def done(self) -> bool:
        """Whether it has ended, well or badly."""
        kind = self.state.type
        return kind in ENDED or (self.end_time is not None and kind not in GOING)

    @property
    def ok(self) -> bool:
        """Whether it has ended well."""
        return self.state.type == "COMPLETED"

    @call
    def reload(self) -> Call[FlowRun[L]]:
        """Ask Prefect how it stands; returns the run itself.

        Raises:
            NotFound: there is no such run any more.
        """
        yield from self._reload()
        return self

    @stream
    def logs(self, *, level: int | None = None) -> Stream[LogLine]:
        """The lines that are there now, by their time; of `level` (as in `logging`) and above.

        >>> [line.message for line in nightly.run().logs()]  # no worker has taken it up
        []
        """
        yield from _Log(self.id, level).unread()

    @stream
    def follow_logs(self, poll: float = 0.5, *, level: int | None = None, linger: float = 5.0) -> Stream[LogLine]:
        """The lines, those that are there and those that come, until the run has ended.

        Each comes once, also one that reaches the server late; such a one comes after lines of a later time.

        Args:
            poll: seconds between two looks.
            level: only lines of it, as in `logging`, and above.
            linger: for so many seconds after its end nothing more must have come. What runs a flow sends lines each
                two seconds, and the last ones after the state.
        """
        log, quiet_since = _Log(self.id, level), None
        while True:
            yield from self._reload()  # first: what was written before the end is there to be read now
            before = log.count
            yield from log.unread()
            now = time.monotonic()
            if not self.done:
                quiet_since = None
            elif quiet_since is None or log.count > before:
                quiet_since = now
            if quiet_since is not None and now - quiet_since >= linger:
                return
            yield Pause(poll)

    @call
    def wait(self, timeout: float | None = None, poll: float = 0.5, *, check: bool = True) -> Call[FlowRun[L]]:
        """Wait until it has ended, and return it.

            >>> nightly.run().wait(timeout=0.1)
            Traceback (most recent call last):
            autoloader_sdk.errors.WaitTimeout: ...

        Args:
            timeout: seconds, 3600 unless given; the run itself goes on after it.
            poll: seconds between two looks.
            check: raise RunFailed where it did not end as COMPLETED.

        Raises:
            RunFailed: it failed, crashed, or was cancelled.
            WaitTimeout: it has not ended in time.
        """
        given = _PATIENCE if timeout is None else timeout
        deadline = time.monotonic() + given
        while True:
            yield from self._reload()
            if self.done:
                break
            left = deadline - time.monotonic()
            if left <= 0:
                what = f"flow run {self._called} is still {self.state} after {given:g} s and goes on"
                raise WaitTimeout(f"{what}; run.wait() waits for it again", run=cast("Any", self))
            yield Pause(min(poll, left))
        if check and not self.ok:
            raise RunFailed(f"flow run {self._called}: {self.state}", run=cast("Any", self))
        return self

    @call
    def cancel(self) -> Call[FlowRun[L]]:
        """Ask for its end; one that has not begun ends at once. One that has a worker ends when that has seen to it.

            >>> nightly.run().cancel().state.type
            'CANCELLED'

        Raises:
            Conflict: it has ended already, as something else than cancelled.
        """
        result, reply = yield from self._set({"type": "CANCELLING"}, force=False)
        yield from self._reload()
        if result.status not in {"", "ACCEPT"} and self.state.type not in {"CANCELLING", "CANCELLED"}:
            raise _refused(result, reply)
        return self

    @call
    def set_state(
        self,
        type: str,  # noqa: A002 - Prefect's word
        name: str | None = None,
        message: str | None = None,
        *,
        scheduled_time: datetime | None = None,
        force: bool = False,
    ) -> Call[FlowRun[L]]:
        """Put it into a state; Prefect may refuse, unless it is by `force`. Returns the run itself.

            run.set_state("SCHEDULED", "AwaitingRetry", force=True)

        Args:
            type: SCHEDULED, RUNNING, …; a state of type SCHEDULED has workers run it.
            name: what says more of it.
            message: why.
            scheduled_time: of a state of type SCHEDULED, when it is due; now unless given.
            force: whether Prefect's rules do not count.

        Raises:
            Conflict: Prefect's rules do not allow it.
            Invalid: Prefect knows no such type.
        """
        state: dict[str, Any] = {"type": type.upper(), "name": name, "message": message}
        if scheduled_time is not None:
            state["state_details"] = {"scheduled_time": instant(scheduled_time)}
        given = {key: value for key, value in state.items() if value is not None}
        result, reply = yield from self._set(given, force=force)
        if result.status not in {"", "ACCEPT"}:
            raise _refused(result, reply)
        yield from self._reload()
        return self

    @call
    def retry(self) -> Call[FlowRun[L]]:
        """Have one that has ended run again, as the same run. Returns the run itself.

            >>> nightly.run().cancel().retry().state.name
            'AwaitingRetry'

        Raises:
            Conflict: it has not ended: it would be run twice at once.
        """
        yield from self._reload()
        if not self.done:
            raise Conflict(f"flow run {self._called} is {self.state} and has not ended; cancel it before")
        yield from self._set({"type": "SCHEDULED", "name": "AwaitingRetry"}, force=True)
        yield from self._reload()
        return self

    @property
    def _path(self) -> str:
        return f"/flow_runs/{quoted(self.id)}"

    @property
    def _called(self) -> str:
        return f"{self.name} ({self.id})" if self.name else self.id

    def _reload(self) -> Generator[Step, Reply, None]:
        self.data = (yield Request("GET", self._path)).read(FlowRunData)

    def _set(self, state: Mapping[str, Any], *, force: bool) -> Call[tuple[SetStateData, Reply]]:
        # By its id Prefect knows a state that was set already, unless it is by force: then nothing keeps the second of
        # two from ending what the first has begun.
        details = {**state.get("state_details", {}), "transition_id": str(uuid.uuid4())}
        body = {"state": checked(NewState, {**state, "state_details": details}), "force": force}
        reply = yield Request("POST", f"{self._path}/set_state", body=body, safe=not force)
        result = reply.read(SetStateData)
        if (result.details or {}).get("reason") == _DONE_BEFORE:
            result = result.model_copy(update={"status": "ACCEPT"})
        return result, reply

    def __repr__(self) -> str:
        return f"<FlowRun {self._called}: {self.state}>"

    def _repr_html_(self) -> str:
        return display.flow_run_html(self.data, self.state)


class FlowRuns(Resource[L]):
    """The runs of all flows."""

    @stream
    def list(
        self,
        *,
        deployment: Deployment[Any] | str | None = None,
        states: Iterable[str] | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Stream[FlowRun[L]]:
        """Runs, the last due first, read page by page as they are asked for.

            >>> run = nightly.run()
            >>> [each.id for each in prefect.flow_runs.list(deployment=nightly, states=["SCHEDULED"])] == [run.id]
            True

        Args:
            deployment: Only its runs; a record, or an id.
            states: Only these, by type (RUNNING) or by name (AwaitingRetry).
            since: Only those that were due then or later; without a zone it is local time.
            limit: So many at the most.
        """
        yield from _newest_first(self._link, _filter(deployment, states), since, limit)

    @call
    def get(self, flow_run_id: str) -> Call[FlowRun[L]]:
        """One run.

        Raises:
            NotFound: there is none.
            Invalid: it is no id.
        """
        reply = yield Request("GET", f"/flow_runs/{ident(flow_run_id, 'flow run')}")
        return FlowRun(self._link, reply.read(FlowRunData))


class _Log:
    """The log of one run, read as it grows, each line once.

    Lines come by their own time, which is not that at which they reach the server: one may come in before others that
    were read already. So what counts is how many have been read: at that place of the list stand as many lines as are
    unread, and where one is there that was read, an unread one is before it. It is looked for by time and not by place:
    lines of one moment have no order of their own, and PostgreSQL gives them another place with each page.
    """

    def __init__(self, flow_run_id: str, level: int | None) -> None:
        wanted: dict[str, Any] = {"flow_run_id": {"any_": [flow_run_id]}}
        if level is not None:
            wanted["level"] = {"ge_": level}
        self._wanted = wanted
        self._pages = Pages("/logs/filter", {"logs": wanted, "sort": "TIMESTAMP_ASC"}, LogLine)
        self._read: set[str] = set()

    @property
    def count(self) -> int:
        """How many lines were read."""
        return len(self._read)

    def unread(self) -> Stream[LogLine]:
        """What was not read yet."""
        while True:
            page = yield from self._pages.read(self.count)
            found = self._new(page)
            if len(found) < len(page):
                found |= yield from self._earlier(page[-1].timestamp, len(page))
            for key, line in sorted(found.items(), key=lambda each: each[1].timestamp):
                self._read.add(key)
                yield Item(line)
            if not found or len(page) < self._pages.size:
                return

    def _earlier(self, until: datetime, most: int) -> Call[dict[str, LogLine]]:
        """`most` unread lines of `until` and before, or as many as there are."""
        found: dict[str, LogLine] = {}
        offset = 0
        while len(found) < most:
            wanted = self._wanted | {"timestamp": {"before_": instant(until)}}
            page = yield from self._pages.read(offset, logs=wanted, sort="TIMESTAMP_DESC")
            found |= self._new(page)
            if len(page) < self._pages.size:
                break
            # A moment with more lines than a page holds is read by their place after all.
            offset = offset + len(page) if page[-1].timestamp == until else 0
            until = page[-1].timestamp
        return found

    def _new(self, page: Iterable[LogLine]) -> dict[str, LogLine]:
        lines = {line.id or line.model_dump_json(): line for line in page}
        return {key: line for key, line in lines.items() if key not in self._read}


def instant(moment: datetime) -> str:
    """A time as it is sent; without a zone it is local time."""
    return moment.astimezone(UTC).isoformat()


def _refused(result: SetStateData, reply: Reply) -> Conflict:
    """A state that Prefect did not take."""
    reason = (result.details or {}).get("reason") or f"the state was not taken ({result.status})"
    return Conflict(f"{reply.service.says}{reason}", **reply.told)


def _filter(deployment: Deployment[Any] | str | None, states: Iterable[str] | None) -> dict[str, Any]:
    """What to look for, but for the time."""
    wanted: dict[str, Any] = {}
    if deployment is not None:
        of = deployment if isinstance(deployment, str) else deployment.id
        wanted["deployment_id"] = {"any_": [ident(of, "deployment")]}
    if isinstance(states, str):
        raise invalid("states", f"a list of states, as in ['{states}']")
    if states is not None:
        given = list(states)
        types = [each.upper() for each in given if each.isupper() or each.upper() in ENDED | GOING]
        names = [each for each in given if each.upper() not in types]
        by = {"name": {"any_": names}} if names else {}
        if types or not names:  # of none there are none
            by["type"] = {"any_": types}
        wanted["state"] = {"operator": "or_", **by}
    return wanted


def _newest_first(link: L, wanted: Mapping[str, Any], since: datetime | None, most: int | None) -> Stream[FlowRun[L]]:
    """Runs by the time at which they were due, from the last one back.

    Each page begins at the time at which the one before has ended: runs that come, end or leave the filter meanwhile
    move none out of sight.
    """
    pages = Pages("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC"}, FlowRunData)
    seen: set[str] = set()
    until: datetime | None = None
    offset = 0
    while most is None or len(seen) < most:
        times = {"after_": since, "before_": until}
        due = {key: instant(value) for key, value in times.items() if value is not None}
        body = {**wanted, **({"expected_start_time": due} if due else {})}
        page = yield from pages.read(offset, flow_runs=body)
        fresh = [data for data in page if data.id not in seen]
        for data in fresh[: None if most is None else most - len(seen)]:
            seen.add(data.id)
            yield Item(FlowRun(link, data))
        if len(page) < pages.size:
            return
        last = page[-1].expected_start_time
        if last is not None and last != until:
            until, offset = last, 0
        elif not fresh:
            offset += len(page)  # whole pages of one moment; one that brought something is looked at again before
