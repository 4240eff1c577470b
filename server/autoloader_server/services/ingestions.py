"""Ingestions: made, found, changed, paused, deleted."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, and_, func, insert, or_, select, update

from autoloader_sdk.models import MASKED, UNENDED, IngestionCreate, IngestionData, IngestionUpdate, RunStatus
from autoloader_server.db.clock import now
from autoloader_server.db.engine import Database
from autoloader_server.db.locks import lock_ingestion, only_one
from autoloader_server.db.tables import batches, ingestions, processed_files, runs
from autoloader_server.db.tenancy import ACROSS_TENANTS
from autoloader_server.engine import held, run_record
from autoloader_server.engine.batch_record import ENDED, UNFINISHED
from autoloader_server.engine.errors import TableChanged
from autoloader_server.security.redact import redact
from autoloader_server.security.secrets import SecretsKeyError
from autoloader_server.services.acceptance import changed_spec, faults_of, warnings_of
from autoloader_server.services.errors import Conflict, Fault, Invalid, NotDone, NotFound, known_status
from autoloader_server.services.idempotency import KEPT
from autoloader_server.services.paging import Page, cursor_of, key_of
from autoloader_server.settings import LOCAL_CLUSTER

if TYPE_CHECKING:
    from autoloader_server.engine.iceberg import Table
    from autoloader_server.service import Service

# Between two tries to take back what a deleted ingestion left.
_DELETION_PAUSE = timedelta(minutes=1)
_MAX_DELETION_PAUSE = timedelta(hours=1)
_NAME = ("catalog", "database", "table")
STATUSES = ("draft", "active", "paused", "error")


def create(
    service: Service,
    body: IngestionCreate,
    *,
    unique_name: bool = False,
    idempotency_key: str | None = None,
    created_by: str | None = None,
) -> IngestionData:
    """Save a new ingestion as a draft.

    Names may be there twice; `unique_name` raises Conflict where one of that name is there.

    With an idempotency key the id follows from it: a request that is sent again, even after a crash in the
    middle of the first one, makes no second ingestion.

    Raises Invalid where a value is one that a later version will know, or that no run could do anything with.
    """
    faults = faults_of(body, service.database.tenant)
    if faults:
        raise Invalid(faults)
    ingestion_id = _new_id(service.database.tenant, idempotency_key)
    spec = body.wire()
    credentials = spec["source"].pop("credentials", None)
    moment = now()
    values = {
        "id": ingestion_id,
        "name": body.name,
        "status": "draft",
        "cluster_id": body.cluster_id,
        "spec": spec,
        "credentials": service.secrets.encrypt(credentials) if credentials else None,
        "created_by": created_by,
        "created_at": moment,
        "updated_at": moment,
    }
    with service.database.write() as connection:
        only_one(connection, "new ingestion")
        made = connection.execute(select(ingestions.c.created_at).where(ingestions.c.id == ingestion_id)).scalar()
        if made is not None and moment - made > KEPT:
            # The key was forgotten since: this is another request.
            made, ingestion_id = None, _new_id(service.database.tenant, None)
            values["id"] = ingestion_id
        if made is None:
            if faults := _in_the_way(connection, service, body):
                raise Invalid(faults)
            if unique_name and (other := _named(connection, body.name)):
                raise Conflict(f"an ingestion named '{body.name}' is there already: {other}")
            connection.execute(ingestions.insert().values(values))
    return get(service, ingestion_id)


def get(service: Service, ingestion_id: str) -> IngestionData:
    """One ingestion; raises NotFound."""
    with service.database.read() as connection:
        return _data(service, row_of(connection, ingestion_id))


def find(
    service: Service,
    *,
    status: str | None = None,
    source_type: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Page[IngestionData]:
    """The ingestions that are not deleted, in the order they were made. Raises Invalid for a status that is none."""
    query = select(ingestions).where(ingestions.c.deleted_at.is_(None))
    if status is not None:
        query = query.where(ingestions.c.status == known_status(status, STATUSES))
    if source_type is not None:
        query = query.where(ingestions.c.spec["source"]["type"].as_string() == source_type)
    if cursor is not None:
        (after,) = key_of(cursor, str)
        created = select(ingestions.c.created_at).where(ingestions.c.id == after).scalar_subquery()
        query = query.where(
            or_(
                ingestions.c.created_at > created,
                and_(ingestions.c.created_at == created, ingestions.c.id > after),
            )
        )
    query = query.order_by(ingestions.c.created_at, ingestions.c.id)
    if limit is not None:
        query = query.limit(limit + 1)
    with service.database.read() as connection:
        rows = connection.execute(query).mappings().all()
    shown = rows if limit is None else rows[:limit]
    more = limit is not None and len(rows) > limit
    return Page([_data(service, row) for row in shown], cursor_of(shown[-1]["id"]) if more else None)


def change(service: Service, ingestion_id: str, body: IngestionUpdate) -> IngestionData:
    """Change what was given and leave the rest. A run that is going ends by the rules with which it began.

    Raises NotFound; Invalid where the outcome would be no ingestion that could be made; Conflict where a rule is to
    change by which something was decided already, or what another rule or another cluster has begun is not settled.
    """
    given = body.wire()
    with service.database.write() as connection:
        lock_ingestion(connection, ingestion_id)
        row = row_of(connection, ingestion_id)
        changed = changed_spec(row["spec"], given, service.database.tenant)
        spec = changed.wire()
        credentials = spec["source"].pop("credentials", None)
        before = IngestionCreate.model_validate(row["spec"])
        moved = [name for name in ("on_bad_record", "cluster_id") if getattr(changed, name) != getattr(before, name)]
        if moved:
            only_one(connection, "new ingestion")
            if faults := _in_the_way(connection, service, changed, but=ingestion_id):
                raise Invalid(faults)
        for name in moved:
            _check_settled(connection, ingestion_id, name)
        _check_undecided(connection, ingestion_id, before, changed)
        values: dict[str, Any] = {
            "spec": spec,
            "cluster_id": changed.cluster_id,
            "updated_at": now(),
            "version": ingestions.c.version + 1,
        }
        # Without the key that decrypts them they are answered as {}, which takes none away when it is sent back.
        if (given.get("source") or {}).get("credentials", {}) != {}:
            values["credentials"] = service.secrets.encrypt(credentials) if credentials else None
        if given.get("status") is not None:
            values |= {"status": given["status"], "status_reason": None}
        connection.execute(update(ingestions).where(ingestions.c.id == ingestion_id).values(values))
    return get(service, ingestion_id)


def _check_undecided(
    connection: Connection, ingestion_id: str, before: IngestionCreate, changed: IngestionCreate
) -> None:
    """Raises Conflict where a rule changes by which files that the ledger knows were judged when they were found."""
    # What `hold` has held back waits for any other rule; under these, changed files may be in the table twice, or gone.
    final = () if before.source.on_changed_file == "hold" else ("on_changed_file",)
    rules = (*final, "include_existing", "modified_after")
    different = [name for name in rules if getattr(before.source, name) != getattr(changed.source, name)]
    known = select(processed_files.c.id).where(processed_files.c.ingestion_id == ingestion_id).limit(1)
    if different and connection.execute(known).first() is not None:
        raise Conflict(
            f"source.{different[0]} cannot change any more: files were found, and judged by it. Make another ingestion "
            "for another table, or clear this one's processed files first, which loads all of them again"
        )


def _check_settled(connection: Connection, ingestion_id: str, field: str) -> None:
    """Raises Conflict where some run is going, or some batch is neither ended nor cleaned up after."""
    going = select(runs.c.id).where(runs.c.ingestion_id == ingestion_id, runs.c.status == RunStatus.RUNNING)
    left = select(batches.c.run_id).where(
        batches.c.ingestion_id == ingestion_id,
        or_(batches.c.status.not_in(ENDED), batches.c.branches_dropped.is_(False)),
    )
    run_id = connection.execute(going).scalar() or connection.execute(left.limit(1)).scalar()
    if run_id is not None:
        raise Conflict(
            f"{field} cannot change while run {run_id} is going, or has left work: wait for its end, release or "
            "drop what is held, or run the ingestion once more; then change it"
        )


def set_status(service: Service, ingestion_id: str, status: str) -> None:
    """Pause or resume; raises NotFound."""
    with service.database.write() as connection:
        row_of(connection, ingestion_id)
        connection.execute(
            update(ingestions)
            .where(ingestions.c.id == ingestion_id)
            .values(status=status, status_reason=None, updated_at=now(), version=ingestions.c.version + 1)
        )


def delete(service: Service, ingestion_id: str, *, delete_table: bool = False, force: bool = False) -> None:
    """Leave a tombstone: unfinished work is burned by its raised generation, the run history stays.

    `delete_table` drops the destination first. Raises NotFound; Conflict where another ingestion loads into it,
    unless `force`; NotDone where Spark could not drop it, and then nothing was changed.
    """
    with service.database.read() as connection:
        row = row_of(connection, ingestion_id)
        others = loading_into(connection, row["spec"]["destination"], but=ingestion_id)
    if delete_table and others and not force:
        raise Conflict(
            f"the table is not dropped: {', '.join(others)} loads into it too. Delete with force=true "
            "to drop it all the same, or without delete_table to keep it."
        )
    if delete_table:
        _drop_table(service, row)
    moment = now()
    with service.database.write() as connection:
        lock_ingestion(connection, ingestion_id)
        held.take_back(connection, ingestion_id)
        connection.execute(
            update(ingestions)
            .where(ingestions.c.id == ingestion_id)
            .values(
                generation=ingestions.c.generation + 1,
                version=ingestions.c.version + 1,
                deleted_at=moment,
                updated_at=moment,
                # While it is named, no other tenant's ingestion may load into the table.
                **({"table_uuid": None} if delete_table else {}),
            )
        )
        unended = connection.execute(
            select(runs.c.id, runs.c.status).where(runs.c.ingestion_id == ingestion_id, runs.c.status.in_(UNENDED))
        ).all()
        for run in unended:
            run_record.cancel(connection, run.id, "the ingestion was deleted")
    if delete_table and any(run.status == RunStatus.RUNNING for run in unended):
        # A first load that was going may have made the table once more in between.
        _drop_table(service, row)
    for run_id, its_ingestion in queue_deletion_runs(service.database):
        service.queue.submit(run_id, its_ingestion)


def queue_deletion_runs(database: Database) -> list[tuple[str, str]]:
    """For each deleted ingestion with unfinished batches a run that takes them back: nobody else would ever run it.

    After one that failed it waits: 1, 2, 4, … minutes, an hour at most.
    """
    waiting = select(runs.c.ingestion_id).where(runs.c.status.in_(UNENDED))
    left = (
        select(batches.c.ingestion_id, ingestions.c.tenant_id)
        .distinct()
        .join(ingestions, ingestions.c.id == batches.c.ingestion_id)
        .where(
            ingestions.c.deleted_at.is_not(None),
            batches.c.status.in_(UNFINISHED),
            batches.c.ingestion_id.not_in(waiting),
        )
    )
    with database.read() as connection:
        if connection.execute(left).first() is None:
            return []
    with database.write() as connection:
        only_one(connection, "deletion runs")
        due = [each for each in connection.execute(left).all() if _is_due(connection, each.ingestion_id)]
        found = [(str(uuid.uuid4()), each) for each in due]
        for run_id, its in found:
            connection.execute(
                insert(runs).values(
                    id=run_id,
                    tenant_id=its.tenant_id,
                    ingestion_id=its.ingestion_id,
                    status=RunStatus.QUEUED,
                    trigger="deletion",
                    created_at=now(),
                )
            )
    return [(run_id, its.ingestion_id) for run_id, its in found]


def _is_due(connection: Connection, ingestion_id: str) -> bool:
    its = (runs.c.ingestion_id == ingestion_id, runs.c.trigger == "deletion")
    tries, last = connection.execute(select(func.count(), func.max(runs.c.ended_at)).where(*its)).one()
    return last is None or now() >= last + min(_DELETION_PAUSE * 2 ** min(tries - 1, 10), _MAX_DELETION_PAUSE)


def row_of(connection: Connection, ingestion_id: str) -> RowMapping:
    """The row of an ingestion that is not deleted; raises NotFound."""
    query = select(ingestions).where(ingestions.c.id == ingestion_id, ingestions.c.deleted_at.is_(None))
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"ingestion {ingestion_id} not found")
    return row


def loading_into(connection: Connection, destination: Mapping[str, Any], *, but: str) -> list[str]:
    """The ids of the other ingestions with this destination, by names without case, as in most catalogs.

    Also another tenant's, which are told of and not named: on a catalog that both can reach it is the same table.
    """
    query = (
        select(ingestions.c.id, ingestions.c.spec["destination"], ingestions.c.tenant_id)
        .where(ingestions.c.deleted_at.is_(None), ingestions.c.id != but)
        .execution_options(**ACROSS_TENANTS)
    )
    tenant = connection.execute(select(ingestions.c.tenant_id).where(ingestions.c.id == but)).scalar()
    wanted = _table_key(destination)
    return [
        row.id if row.tenant_id == tenant else "an ingestion of another tenant"
        for row in connection.execute(query)
        if _table_key(row[1]) == wanted
    ]


def _named(connection: Connection, name: str) -> str | None:
    query = select(ingestions.c.id).where(ingestions.c.name == name, ingestions.c.deleted_at.is_(None))
    return connection.execute(query.limit(1)).scalar()


def _table_key(destination: Mapping[str, Any], suffix: str = "") -> list[str]:
    return [(str(destination[part]) + end).casefold() for part, end in zip(_NAME, ("", "", suffix), strict=True)]


def _sets_aside(spec: Mapping[str, Any]) -> bool:
    return spec.get("on_bad_record") == "quarantine"


def loaded_table(connection: Connection, service: Service, spec: IngestionCreate, *, but: str) -> str | None:
    """The id of the table at this destination, as far as other ingestions have loaded into it; None where none has.

    Also deleted ones whose table was kept. On another server the same name is another table. Of a table that the
    ingestion `but` has loaded into before, and knows no more, nothing is left: it was refreshed.
    """
    query = select(ingestions.c.spec, ingestions.c.table_uuid).where(
        ingestions.c.table_uuid.is_not(None), ingestions.c.id != but
    )
    wanted, server = _table_key(spec.wire()["destination"]), _server(service, spec.cluster_id)
    found = {
        table_id
        for its, table_id in connection.execute(query)
        if _table_key(its["destination"]) == wanted and _server(service, its.get("cluster_id")) == server
    }
    gone = set(
        connection.execute(select(batches.c.table_uuid).where(batches.c.ingestion_id == but).distinct()).scalars()
    )
    newest = (
        select(batches.c.table_uuid)
        .where(batches.c.table_uuid.in_(found - gone))
        .order_by(batches.c.created_at.desc())
        .limit(1)
    )
    return connection.execute(newest).scalar() if found - gone else None


def _in_the_way(
    connection: Connection, service: Service, body: IngestionCreate, *, but: str | None = None
) -> list[Fault]:
    """A fault where one table would be loaded into, and be the quarantine table of another one, or another tenant's."""
    from autoloader_server.engine.quarantine import SUFFIX

    spec = body.wire()
    table, aside = _table_key(spec["destination"]), _table_key(spec["destination"], SUFFIX)
    query = (
        select(ingestions.c.id, ingestions.c.spec, ingestions.c.tenant_id, ingestions.c.deleted_at)
        .where(or_(ingestions.c.deleted_at.is_(None), ingestions.c.table_uuid.is_not(None)), ingestions.c.id != but)
        .execution_options(**ACROSS_TENANTS)
    )
    for other, its, whose, deleted in connection.execute(query):
        if whose != service.database.tenant:
            # On another server the same name is another table. Whose it is stays theirs, also after they have deleted
            # the ingestion and kept the table.
            theirs = [_table_key(its["destination"]), _table_key(its["destination"], SUFFIX)]
            same_server = _server(service, its.get("cluster_id")) == _server(service, body.cluster_id)
            if same_server and (table in theirs or aside in theirs):
                return [Fault(("body", "destination", "table"), "another tenant loads into it: name another table")]
            continue
        if deleted is not None:
            continue
        if _sets_aside(its) and _table_key(its["destination"], SUFFIX) == table:
            why = f"ingestion {other} sets its bad records aside in this table: load into another one"
            return [Fault(("body", "destination", "table"), why)]
        if _sets_aside(spec) and _table_key(its["destination"]) == aside:
            why = f"bad records would be set aside in {'.'.join(aside)}, which ingestion {other} loads into"
            return [Fault(("body", "on_bad_record"), why)]
    return []


def _server(service: Service, cluster_id: str | None) -> str | None:
    """Which Spark server a cluster's id means; None is the local one."""
    cluster = service.cluster(cluster_id)
    return None if cluster is None or cluster.id == LOCAL_CLUSTER else cluster.url


def table_of(service: Service, row: RowMapping) -> Table:
    """The table that an ingestion loads into, asked on its cluster, whose Spark is started where it is not there."""
    from autoloader_server.engine.iceberg import Table
    from autoloader_server.engine.sql import TableName

    name = TableName.of(IngestionCreate.model_validate(row["spec"]).destination)
    return Table(service.spark_of(row["cluster_id"]).session(), name)


def drop_tables(service: Service, row: RowMapping) -> None:
    """Drop the table that an ingestion loads into, and that of its bad records, where they are there.

    Raises TableChanged where another ledger loads into the table.
    """
    from autoloader_server.engine.iceberg import Table
    from autoloader_server.engine.quarantine import Quarantine, quarantine_name

    table = table_of(service, row)
    state = table.state()
    if state is not None and state.ledger_id not in (None, service.ledger_id):
        raise TableChanged(f"another autoloader database loads into it (ledger {state.ledger_id})")
    table.drop()
    # Whatever the rule is today: it may have been another one. Unless somebody loads into it since.
    aside = {**row["spec"]["destination"], "table": quarantine_name(table.name).table}
    with service.database.read() as connection:
        taken = loading_into(connection, aside, but=row["id"])
    if not taken:
        Quarantine(Table(table.spark, quarantine_name(table.name)), service.ledger_id).drop()


def _drop_table(service: Service, row: RowMapping) -> None:
    from autoloader_server.engine.sql import TableName
    from autoloader_server.spark.errors import first_line

    table = TableName.of(IngestionCreate.model_validate(row["spec"]).destination)
    try:
        drop_tables(service, row)
    except Exception as error:
        reason = redact(first_line(error))
        raise NotDone(f"the table {table} could not be dropped, so the ingestion is not deleted: {reason}") from error


def _new_id(tenant: str, idempotency_key: str | None) -> str:
    if idempotency_key is None:
        return f"ing_{uuid.uuid4().hex[:12]}"
    whole = f"{tenant}\0{idempotency_key}"
    return f"ing_{hashlib.sha256(whole.encode()).hexdigest()[:12]}"


def _data(service: Service, row: RowMapping) -> IngestionData:
    """An ingestion as it is answered: as it was sent, with defaults, and with its credentials masked."""
    body = IngestionCreate.model_validate(row["spec"])
    answer = body.model_dump(mode="json", by_alias=True)
    if body.format.options is not None:
        answer["format"]["options"] = body.format.options.wire()
    warnings = [row["status_reason"]] if row["status_reason"] else []
    if row["credentials"] is not None:
        try:
            answer["source"]["credentials"] = dict.fromkeys(service.secrets.decrypt(row["credentials"]), MASKED)
        except SecretsKeyError as error:
            # It can be looked at, paused and deleted all the same; a run of it fails with this sentence.
            answer["source"]["credentials"] = {}
            warnings.append(f"source.credentials: {error}")
    cluster = service.cluster(row["cluster_id"])
    warnings += warnings_of(body, service.settings, has_credentials=row["credentials"] is not None)
    return IngestionData.model_validate(
        {
            **answer,
            "id": row["id"],
            "tenant_id": row["tenant_id"],
            "status": row["status"],
            "on_schema_change": body.effective_on_schema_change,
            "spark_connect_url": redact(cluster.url) if cluster else None,
            "metadata": {
                "last_run_id": row["last_run_id"],
                "last_run_time": row["last_run_at"],
                "schema_version": row["schema_version"],
            },
            "prefect_deployment_id": row["prefect_deployment_id"],
            "created_at": row["created_at"],
            "updated_at": row["updated_at"],
            "created_by": row["created_by"],
            "warnings": warnings,
        }
    )
