"""Ingestions: configured loads. Make one, run it, ask what became of each file."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, overload

from autoloader_sdk import shorthand
from autoloader_sdk._http.endpoint import (
    API,
    Async,
    Call,
    L,
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
from autoloader_sdk.batches import BatchesOf
from autoloader_sdk.config import Secret
from autoloader_sdk.errors import AutoloaderError, Conflict, NotFound, NotSupported
from autoloader_sdk.files import Files
from autoloader_sdk.listing import Listing
from autoloader_sdk.models import (
    ClearedFiles,
    CostBreakdown,
    DestinationData,
    FormatData,
    IngestionData,
    IngestionUpdate,
    Limits,
    OnBadRecord,
    OnSchemaChange,
    PreviewResult,
    Quality,
    RefreshOperation,
    ScheduleData,
    SourceData,
    nearest,
)
from autoloader_sdk.notebook import display
from autoloader_sdk.refreshes import Refresh
from autoloader_sdk.runs import Run, RunsOf, from_receipt
from autoloader_sdk.schema_versions import VersionsOfSchema
from autoloader_sdk.shorthand import Short

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession

    from autoloader_sdk._http.endpoint import Reply
    from autoloader_sdk.models import OnBadRecord, OnSchemaChange
    from autoloader_sdk.prefect import Deployment


# What a service changes that knows nothing of ours.
_FIRST_CONTRACT = frozenset({"status", "schedule", "quality", "alert_recipients"})


class Ingestion(Resource[L]):
    """A configured load: source → format → destination, with a schedule and rules.

    `data` has every field that the service sent.
    """

    def __init__(self, link: L, data: IngestionData) -> None:
        super().__init__(link)
        self.data = data

    @property
    def id(self) -> str:
        """`ing_` and 12 hex digits."""
        return self.data.id

    @property
    def name(self) -> str:
        """Its name for people."""
        return self.data.name

    @property
    def status(self) -> str:
        """draft, active, paused or error."""
        return self.data.status

    @property
    def source(self) -> SourceData:
        """Where the files are."""
        return self.data.source

    @property
    def format(self) -> FormatData:
        """How they are written."""
        return self.data.format

    @property
    def destination(self) -> DestinationData:
        """The table."""
        return self.data.destination

    @property
    def schedule(self) -> ScheduleData | None:
        """When it is to run by itself: kept, and fired by nothing yet; `deployment` is what Prefect has of it."""
        return self.data.schedule

    @overload
    def deployment(self: Ingestion[Sync]) -> Deployment[Sync]: ...
    @overload
    def deployment(self: Ingestion[Async]) -> Coroutine[Any, Any, Deployment[Async]]: ...
    def deployment(self: Ingestion[Any]) -> Any:
        """The deployment that runs it by its schedule, from the Prefect server of PREFECT_API_URL.

        Raises:
            NotFound: it has none, or Prefect knows it no more.
            AutoloaderError: PREFECT_API_URL is not set.
        """
        deployment_id = self.data.prefect_deployment_id
        if deployment_id is None:
            raise NotFound(f"ingestion {self.name!r} has no deployment in Prefect")
        return self._link.prefect().deployments.get(deployment_id)

    @property
    def warnings(self) -> list[str]:
        """Fields that the service accepted and that have no effect, each with a sentence."""
        return self.data.warnings

    @call
    def run(self, *, force: bool = False, idempotency_key: str | None = None) -> Call[Run[L]]:
        """Load what is new. Returns at once, with the run that does it.

            >>> run = flights.run().wait(progress=False)
            >>> run.status, run.message
            ('success', 'there are no files at the source')

        Args:
            force: although it is paused.
            idempotency_key: a text of the caller's own. Asked again with it, as after a Timeout, our service gives the
                run that it gave then; without it, each call asks for another one. An older service takes no notice.

        Raises:
            Conflict: it is paused.
        """
        params = {"force": "true"} if force else {}
        reply = yield Request("POST", f"{self._path}/run", params, key=idempotency_key)
        return from_receipt(self._link, self.id, reply)

    @property
    def runs(self) -> RunsOf[L]:
        """Its runs: `ingestion.runs()` for the last ones, a loop over `ingestion.runs` for all."""
        return RunsOf(self._link, self.id)

    @property
    def files(self) -> Files[L]:
        """Its files: `ingestion.files(status="failed")` for some, `ingestion.files.why(path)` for one."""
        return Files(self._link, f"{self._path}/files")

    @property
    def schema_versions(self) -> VersionsOfSchema[L]:
        """How its table's columns changed: `schema_versions()` for all changes, `schema_versions.diff()` in sum."""
        return VersionsOfSchema(self._link, f"{self._path}/schema-versions")

    @property
    def batches(self) -> BatchesOf[L]:
        """Its batches: `ingestion.batches(status="held")` for those that wait to be released or dropped."""
        return BatchesOf(self._link, self.id)

    @call
    def pause(self) -> Call[Ingestion[L]]:
        """Let it rest: it is not run until `resume`, but by force.

        >>> flights.pause().status
        'paused'
        """
        yield Request("POST", f"{self._path}/pause", safe=True)
        return (yield from self._reload())

    @call
    def resume(self) -> Call[Ingestion[L]]:
        """Let it run again.

        >>> flights.pause().resume().status
        'active'
        """
        yield Request("POST", f"{self._path}/resume", safe=True)
        return (yield from self._reload())

    @call
    def update(
        self,
        *,
        status: str | None = None,
        schedule: Short | None = None,
        quality: Mapping[str, Any] | Quality | None = None,
        alert_recipients: list[str] | None = None,
        cluster_id: str | None = None,
        source: Mapping[str, Any] | None = None,
        format: Mapping[str, Any] | None = None,  # noqa: A002 - the contract's word
        on_schema_change: OnSchemaChange | None = None,
        on_bad_record: OnBadRecord | None = None,
        limits: Mapping[str, Any] | Limits | None = None,
    ) -> Call[Ingestion[L]]:
        """Change what can be changed; what is not given stays. `schedule={}` takes the schedule away.

            >>> flights.update(limits={"max_attempts": 2}, schedule="daily").data.schedule.frequency
            'daily'

        Args:
            source: of it `file_pattern`, `credentials` (as a whole), `include_existing`, `modified_after`,
                `min_age_seconds` and `on_changed_file`; the place itself cannot change.
            format: its `options` and `schema`, each as a whole.
            on_bad_record: cannot change while a run is going or has left work.

        Raises:
            Invalid: the outcome would be no ingestion that could be made; nothing was changed.
            Conflict: files were found and judged by the rule, or what another rule began is not settled.
            NotSupported: the service is an older one, which does not change these fields.
        """
        given = {
            "status": status,
            "schedule": None if schedule is None else shorthand.schedule(schedule),
            "quality": shorthand.whole(quality),
            "alert_recipients": alert_recipients,
            "cluster_id": cluster_id,
            "source": source,
            "format": format,
            "on_schema_change": on_schema_change,
            "on_bad_record": on_bad_record,
            "limits": shorthand.whole(limits),
        }
        body = shorthand.checked(IngestionUpdate, {key: value for key, value in given.items() if value is not None})
        reply = yield Request("PUT", self._path, body=body)
        self._take(reply)
        if not reply.ours and (unknown := sorted(set(body) - _FIRST_CONTRACT)):
            raise NotSupported(
                f"this service is an older one: it changes {', '.join(sorted(_FIRST_CONTRACT))} alone, and has not "
                f"changed {', '.join(unknown)}",
                **reply.told,
            )
        return self

    @call
    def delete(self, *, delete_table: bool = False, force: bool = False) -> Call[None]:
        """Delete it; its runs stay on record, and so does the table unless asked otherwise.

            >>> flights.delete()
            >>> list(client.ingestions.list())
            []

        Args:
            delete_table: drop the table, too.
            force: although another ingestion loads into that table.

        Raises:
            Conflict: the table was to go, and another ingestion loads into it.
        """
        asked = {"delete_table": delete_table, "force": force}
        try:
            yield Request("DELETE", self._path, {name: "true" for name, wanted in asked.items() if wanted})
        except NotFound as error:
            # An earlier try, whose answer was lost, has deleted it; unless it is not the service that says so.
            if not (error.repeated and error.missing == "thing"):
                raise

    @call
    def preview(self, *, files: int = 100, sample: bool = True) -> Call[PreviewResult]:
        """What its next run would do about each file, and the columns and first rows that it would load.

            >>> seen = flights.preview(sample=False)
            >>> seen.plan.load, seen.plan.skip, seen.warnings
            (0, 0, ['there are no files at the source'])

        Nothing is written. A file that is to be loaded may still be found to be bad in itself.

        Args:
            files: So many files of each action (load, skip, hold, fail) are in `plan.files`; all are counted.
            sample: Let Spark read some of what would be loaded; without it there is the plan alone, and no Spark.

        Raises:
            Invalid: there is no such source, or it is closed.
            NotSupported: the service is an older one, which has no such preview.
        """
        params = {"files": str(files), "sample": "true" if sample else "false"}
        request = Request("POST", f"{self._path}/preview", params, safe=True)
        reply = yield from ours_only(request, "has no preview of an ingestion that is there (`ingestions.test` has)")
        return reply.read(PreviewResult)

    @call
    def estimate_cost(self) -> Call[CostBreakdown]:
        """What it costs a month, in US dollars, from the files that are there and from its own runs.

            >>> flights.estimate_cost().total_monthly
            0.0

        Raises:
            Invalid: there is no such source, or it is closed.
            NotSupported: the service is an older one, which prices none that is there.
        """
        request = Request("POST", f"{self._path}/estimate-cost", safe=True)
        reply = yield from ours_only(request, "prices no ingestion that is there (`ingestions.estimate_cost` does)")
        return reply.read(CostBreakdown)

    @call
    def clear(self) -> Call[ClearedFiles]:
        """Forget which files were loaded: the next run loads all of them again, beside the rows there.

        >>> flights.clear().files_cleared
        0
        """
        return (yield Request("DELETE", f"{self._path}/processed-files", safe=False)).read(ClearedFiles)

    @call
    def refresh_full(
        self,
        *,
        auto_run: bool = True,
        dry_run: bool = False,
        force: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[Refresh[L]]:
        """Drop the table, forget its files, and load all that is at the source into a new one.

            >>> plan = flights.refresh_full(dry_run=True)
            >>> [step["operation"] for step in plan.data.would_perform]
            ['table_dropped', 'processed_files_cleared', 'run_triggered']

        Args:
            auto_run: start the run that loads; without it the next run does.
            dry_run: change nothing, and say what would be done and what it means.
            force: although another ingestion loads into the table, or this one is paused.
            idempotency_key: as for `run`.

        Raises:
            Conflict: it is paused, or its source cannot be listed. Nothing was changed.
        """
        asked = {"auto_run": auto_run, "dry_run": dry_run}
        return (yield from self._refresh("full", asked, force=force, key=idempotency_key))

    @call
    def refresh_new_only(
        self,
        *,
        auto_run: bool = True,
        dry_run: bool = False,
        force: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[Refresh[L]]:
        """Drop the table, and load only what was not loaded before into a new one. Otherwise as `refresh_full`.

        >>> flights.refresh_new_only(dry_run=True).status
        'dry_run'
        """
        asked = {"auto_run": auto_run, "dry_run": dry_run}
        return (yield from self._refresh("new-only", asked, force=force, key=idempotency_key))

    @call
    def reload(self) -> Call[Ingestion[L]]:
        """Ask the service again; returns the ingestion itself.

        >>> flights.reload() is flights
        True
        """
        return (yield from self._reload())

    def table(self, *, token: str | Secret | None = None) -> DataFrame:
        """The table as a Spark DataFrame. Asks Spark, not the service, and waits on an async record too.

        Args:
            token: as for `spark`.

        Raises:
            NotFound: there is no such table yet.
            MissingExtra: pyspark is not installed.
        """
        token = Secret.of(token)  # from here on no traceback shows it
        return self._read(self.destination.table or "", token)

    def quarantine(self, *, token: str | Secret | None = None) -> DataFrame:
        """The records that `on_bad_record: quarantine` has set aside, as a Spark DataFrame; as `table` does it.

        Columns: `path, line, record` (its text), `reason, batch_id, run_id, ingestion_id, quarantined_at`. Other
        ingestions that load into the same table set their records aside here too.

        Args:
            token: as for `spark`.

        Raises:
            NotFound: none was set aside yet.
            MissingExtra: pyspark is not installed.
        """
        token = Secret.of(token)  # from here on no traceback shows it
        table = f"{self.destination.table}__quarantine"
        try:
            return self._read(table, token)
        except NotFound:
            where = f"{self.destination.catalog}.{self.destination.database}.{table}"
            raise NotFound(f"no bad record of {self.name!r} was set aside yet: there is no table {where}") from None

    def spark(self, *, token: str | Secret | None = None) -> SparkSession:
        """A Spark Connect session on the cluster that it runs on, with its catalog as the current one.

        Args:
            token: what lets one into the cluster; without it that of `SPARK_CONNECT_AUTHENTICATE_TOKEN`, if set.

        Raises:
            MissingExtra: pyspark is not installed.
            UnsupportedSpark: the cluster's Spark is neither 3.5 nor 4.x.
            AutoloaderError: the service names no address of the cluster.
        """
        token = Secret.of(token)  # from here on no traceback shows it
        return self._link.spark_session(
            self.data.cluster_id, self.data.spark_connect_url, token=token, catalog=self.destination.catalog
        )

    def _read(self, table: str, token: Secret | None) -> DataFrame:
        from autoloader_sdk.spark import read_table

        spark = self._link.spark_session(self.data.cluster_id, self.data.spark_connect_url, token=token)
        to = self.destination
        return read_table(spark, to.catalog or "", to.database or "", table)

    @property
    def _path(self) -> str:
        return f"{API}/ingestions/{quoted(self.id)}"

    def _refresh(self, mode: str, asked: dict[str, bool], *, force: bool, key: str | None) -> Call[Refresh[L]]:
        params = {"force": "true"} if force else {}
        body = {"confirm": True, **asked}
        reply = yield Request("POST", f"{self._path}/refresh/{mode}", params, body=body, key=key)
        return Refresh(self._link, self.id, reply.read(RefreshOperation))

    def _reload(self) -> Call[Ingestion[L]]:
        return self._take((yield Request("GET", self._path)))

    def _take(self, reply: Reply) -> Ingestion[L]:
        self.data = reply.read(IngestionData)
        return self

    def __repr__(self) -> str:
        return f"<Ingestion {self.id} ({self.name}): {self.status}>"

    def __str__(self) -> str:
        return display.ingestion_text(self.data)

    def _repr_html_(self) -> str:
        return display.ingestion_html(self.data)


def is_id(text: str) -> bool:
    """Whether a text is an ingestion's id, and no name."""
    return re.fullmatch(r"ing_[0-9a-f]{12}", text) is not None


class Ingestions(Resource[L]):
    """The ingestions that the service knows."""

    @call
    def create(
        self,
        *,
        name: str,
        source: Short | os.PathLike[str],
        format: Short,  # noqa: A002 - the contract's word
        destination: Short,
        schedule: Short | None = None,
        quality: Mapping[str, Any] | Quality | None = None,
        on_schema_change: OnSchemaChange = "append_new_columns",
        on_bad_record: OnBadRecord = "fail",
        limits: Mapping[str, Any] | Limits | None = None,
        cluster_id: str = "default",
        exist_ok: bool = False,
    ) -> Call[Ingestion[L]]:
        """Make an ingestion. It is a draft, and runs when asked; its schedule is kept, and fires nothing yet.

            >>> orders = client.ingestions.create(
            ...     name="orders", source=folder, format="csv", destination="lake.bronze.orders"
            ... )
            >>> orders.status
            'draft'

        Args:
            name: what people call it.
            source: a folder, `s3://bucket/folder/`, …; or all of it, as a dictionary or a `models.Source`.
            format: csv, json, parquet, avro, orc; or all of it.
            destination: `catalog.database.table`, or two parts in the catalog `lake`; or all of it. The table
                gets the lineage column `_source_file` unless `lineage_columns` says otherwise.
            schedule: hourly, daily, weekly, a cron expression in UTC, or all of it; none: only when asked.
            quality: what is expected of a run.
            on_schema_change: what to do when files bring other columns.
            on_bad_record: what to do with a record that cannot be loaded: its file fails; it is rescued into the
                column `_rescued_data`; or it is set aside in the table `<table>__quarantine`. Of csv and json.
            limits: how much a batch may hold.
            cluster_id: where it runs.
            exist_ok: if there is one of that name with the same source, format, table and rules, return that.

        Raises:
            Invalid: something in it breaks the contract; `fields` says what. Nothing was made.
            Conflict: there is one of that name, and the service wants names to differ; or, with `exist_ok`,
                it loads something else.
        """
        body = shorthand.ingestion(
            source,
            format,
            destination,
            when=schedule,
            quality=quality,
            limits=limits,
            name=name,
            cluster_id=cluster_id,
            on_schema_change=on_schema_change,
            # A service that does not know the word would take it and do nothing.
            **({} if on_bad_record == "fail" else {"on_bad_record": on_bad_record}),
        )
        there = (yield from self._same(name, body)) if exist_ok else None
        if there is not None:
            return there
        try:
            reply = yield Request("POST", f"{API}/ingestions", {"unique_name": "true"}, body=body)
        except Conflict:
            there = (yield from self._same(name, body)) if exist_ok else None  # somebody else was quicker
            if there is None:
                raise
            return there
        return Ingestion(self._link, reply.read(IngestionData))

    @call
    def test(
        self,
        *,
        source: Short | os.PathLike[str],
        format: Short,  # noqa: A002 - the contract's word
        destination: Short,
        on_schema_change: OnSchemaChange = "append_new_columns",
        cluster_id: str = "default",
        files: int = 100,
        sample: bool = True,
    ) -> Call[PreviewResult]:
        """What such an ingestion would load: its files, columns and first rows, seen by Spark; nothing is made.

            >>> client.ingestions.test(source=folder, format="csv", destination="lake.bronze.new").file_count
            0

        Arguments are those of `create`, and `files` and `sample` those of `Ingestion.preview`.

        Raises:
            Invalid: something in it breaks the contract, or there is no such source.
        """
        body = shorthand.ingestion(
            source, format, destination, name="test", on_schema_change=on_schema_change, cluster_id=cluster_id
        )
        params = {"files": str(files), "sample": "true" if sample else "false"}
        return (yield Request("POST", f"{API}/ingestions/test", params, body=body, safe=True)).read(PreviewResult)

    @call
    def estimate_cost(
        self,
        *,
        source: Short | os.PathLike[str],
        format: Short,  # noqa: A002 - the contract's word
        destination: Short,
        schedule: Short | None = None,
        cluster_id: str = "default",
    ) -> Call[CostBreakdown]:
        """What such an ingestion would cost a month, in US dollars; nothing is made.

        `breakdown_details` has each term, and the formulas. Arguments are those of `create`.

            >>> cost = client.ingestions.estimate_cost(source=folder, format="csv", destination="lake.bronze.new")
            >>> cost.total_monthly
            0.0

        Raises:
            Invalid: something in it breaks the contract, or there is no such source.
        """
        body = shorthand.ingestion(source, format, destination, when=schedule, name="estimate", cluster_id=cluster_id)
        reply = yield Request("POST", f"{API}/ingestions/estimate-cost", body=body, safe=True)
        return reply.read(CostBreakdown)

    @call
    def get(self, id_or_name: str) -> Call[Ingestion[L]]:
        """One ingestion, by its id or by its name.

            >>> client.ingestions.get("flights").name
            'flights'

        Raises:
            NotFound: there is none.
        """
        if is_id(id_or_name):
            reply = yield Request("GET", f"{API}/ingestions/{quoted(id_or_name)}")
            return Ingestion(self._link, reply.read(IngestionData))
        return (yield from self._by_name(id_or_name))

    @call
    def list(self, *, status: str | None = None, source_type: str | None = None) -> Call[Listing[Ingestion[L]]]:
        """All of them, or those of one status or source type.

        >>> [each.name for each in client.ingestions.list(status="draft")]
        ['flights']
        """
        return (yield from self._list({"status": status, "source_type": source_type}))

    @stream
    def _each(self) -> Stream[Ingestion[L]]:
        request = Request("GET", f"{API}/ingestions", {"limit": "1000"})
        yield from each_entry(request, IngestionData, lambda data: Ingestion(self._link, data))

    def __iter__(self: Ingestions[Sync]) -> Iterator[Ingestion[Sync]]:
        return self._each()

    def __aiter__(self: Ingestions[Async]) -> AsyncIterator[Ingestion[Async]]:
        return self._each()

    def _list(self, filters: Mapping[str, str | None]) -> Generator[Step, Reply, Listing[Ingestion[L]]]:
        params = {key: value for key, value in filters.items() if value}
        found = yield from all_pages(Request("GET", f"{API}/ingestions", params), IngestionData)
        # An older service filters by nothing.
        kept = [
            data
            for data in found
            if filters.get("status") in (None, data.status) and filters.get("source_type") in (None, data.source.type)
        ]
        return Listing(Ingestion(self._link, data) for data in kept)

    def _same(self, name: str, body: Mapping[str, Any]) -> Generator[Step, Reply, Ingestion[L] | None]:
        """The ingestion of that name, if there is one, provided that it loads the same."""
        found = [each for each in (yield from self._list({})) if each.name == name]
        for each in found:
            if not shorthand.differences(body, each.data):
                return each
        if found:
            differing = ", ".join(shorthand.differences(body, found[0].data))
            raise Conflict(f"an ingestion '{name}' ({found[0].id}) is there and differs in {differing}")
        return None

    def _by_name(self, name: str) -> Generator[Step, Reply, Ingestion[L]]:
        everything = yield from self._list({})
        found = [each for each in everything if name in {each.name, each.id}]
        if not found:
            near = nearest(name, [each.name for each in everything])
            raise NotFound(f"no ingestion '{name}'" + (f"; did you mean '{near}'?" if near else ""))
        if len(found) > 1:
            ids = ", ".join(each.id for each in found)
            raise AutoloaderError(f"{len(found)} ingestions are called '{name}'; get one by its id: {ids}")
        return found[0]
