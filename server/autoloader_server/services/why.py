"""Why one file is in the table of an ingestion, or is not: a sentence, from the ledger and from the source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import RowMapping, select

from autoloader_sdk.discovery.entries import Entry, below, local_path
from autoloader_sdk.discovery.local_listing import name_problem
from autoloader_sdk.discovery.patterns import compile_pattern
from autoloader_sdk.discovery.s3_access import key_problem, s3_path
from autoloader_sdk.models import FileData, FileStatus, FileVerdict, IngestionCreate, source_type
from autoloader_server.db.clock import shown
from autoloader_server.db.tables import processed_files
from autoloader_server.engine import ledger
from autoloader_server.engine.begin import limits_of
from autoloader_server.engine.discover import Rules
from autoloader_server.engine.sql import TableName
from autoloader_server.services.errors import Fault, Invalid
from autoloader_server.services.files import SHOWN
from autoloader_server.services.ingestions import row_of
from autoloader_server.services.sources import listed, place_of_saved

if TYPE_CHECKING:
    from autoloader_server.service import Service


def why(service: Service, ingestion_id: str, path: str) -> FileVerdict:
    """What became of a file, given by its path, or by its path below the source.

    The ledger tells of a file that it knows; of another one the source is asked, once. Raises NotFound; Invalid where
    there can be no such path; Invalid or NotDone where the source has to be asked and cannot be.
    """
    with service.database.read() as connection:
        row = row_of(connection, ingestion_id)
        spec = IngestionCreate.model_validate(row["spec"])
        try:
            candidates = _candidates(spec, path)
        except ValueError as error:
            raise Invalid([Fault(("query", "path"), str(error))]) from None
        files = processed_files.c
        versions = (
            connection.execute(
                select(*(files[name] for name in SHOWN), files.identity)
                .where(files.ingestion_id == ingestion_id, files.path.in_(candidates))
                .order_by(files.ordinal.desc())
            )
            .mappings()
            .all()
        )
        loaded = ledger.loaded_versions(connection, ingestion_id, versions[0]["path"]) if versions else []
    if not versions:
        asked, sentence = _unknown(service, row, spec, candidates)
        return FileVerdict(path=asked, in_table=False, sentence=sentence)
    newest = versions[0]
    return FileVerdict(
        path=newest["path"],
        in_table=bool(loaded),
        sentence=_known(newest, loaded, spec, limits_of(service, spec).max_attempts, _next_run(row["status"])),
        file=FileData.model_validate({name: newest[name] for name in SHOWN}),
        versions=len(versions),
    )


def _candidates(spec: IngestionCreate, path: str) -> list[str]:
    """What the ledger may call a file that somebody calls `path`, the likeliest first."""
    root = spec.source.path
    if spec.source.type == "s3":
        root = str(s3_path(root))
        found = str(s3_path(path)) if source_type(path) == "s3" else f"{root.rstrip('/')}/{path}"
    elif path.startswith(("/", "file:/")):
        root, found = local_path(root), local_path(path)
    else:
        root = local_path(root)
        found = local_path(f"{root}/{path}")
    # A source may be one file, which people call by its name.
    return [found, root] if path == root.rpartition("/")[2] else [found]


def _next_run(status: str) -> str:
    """Whatever comes before it, in words."""
    match status:
        case "paused":
            return "the ingestion is paused, and once it is resumed the next run"
        case "error":
            return "the ingestion needs repair (its warnings tell why), and after that the next run"
    return "the next run"


def _known(file: RowMapping, loaded: Sequence[str], spec: IngestionCreate, most_attempts: int, next_run: str) -> str:
    """The sentence for the newest version of a file that the ledger knows."""
    reason = file["reason"] or "no reason is on record"
    older = "; the rows of an earlier version are in the table" if loaded else ""
    match file["status"]:
        case FileStatus.SUCCESS if file["identity"] in loaded:
            return _in_table(file, TableName.of(spec.destination))
        case FileStatus.SUCCESS:
            return f"it was loaded on {shown(file['loaded_at'])} into a table that is gone since"
        case FileStatus.DISCOVERED:
            return f"it waits since {shown(file['first_seen_at'])}: {next_run} loads it{older}"
        case FileStatus.PROCESSING:
            return (
                f"run {file['run_id']} loads it in batch {file['batch_id']}, or died while it did: then {next_run} "
                f"finishes that{older}"
            )
        case FileStatus.FAILED if not file["attempts"]:
            return f"it cannot be loaded: {reason}{older}"
        case FileStatus.FAILED:
            return f"it failed ({_times(file['attempts'])}): {reason}; {_again(file, most_attempts, next_run)}{older}"
        case FileStatus.HELD if file["batch_id"] is not None:
            return f"it is {reason}: release or drop batch {file['batch_id']}{older}"
        case FileStatus.HELD if spec.source.on_changed_file != "hold":
            return (
                f"it was held back since it changed, and on_changed_file is no longer hold: {next_run} loads it{older}"
            )
        case FileStatus.HELD:
            return f"it is held back: {reason}{older}"
        case FileStatus.SKIPPED if file["identity"] in loaded:
            return f"its rows are in the table: {reason}"
        case FileStatus.SKIPPED:
            return f"it is skipped: {reason}{older}"
    return f"it is {file['status']}: {reason}{older}"


def _in_table(file: RowMapping, table: TableName) -> str:
    rows = "its rows are" if file["records"] is None else f"{file['records']:,} rows are"
    if file["records"] == 0:
        rows = "none of its records is" if file["bad_records"] else "it holds no records, so none is"
    elif file["records"] == 1:
        rows = "1 row is"
    bad = f"; {file['bad_records']:,} bad records were rescued or set aside" if file["bad_records"] else ""
    return f"{rows} in {table}, loaded on {shown(file['loaded_at'])} by run {file['run_id']}{bad}"


def _again(file: RowMapping, most_attempts: int, next_run: str) -> str:
    if not file["retryable"]:
        return f"it is not tried again before it has another content, or run {file['run_id']} is retried"
    if file["attempts"] >= most_attempts:
        return f"after {_times(most_attempts)} it is not tried again by itself: retry run {file['run_id']}"
    return f"{next_run} after {shown(file['next_attempt_at'])} tries it again"


def _unknown(service: Service, row: RowMapping, spec: IngestionCreate, candidates: Sequence[str]) -> tuple[str, str]:
    """The path and the sentence for a file that the ledger has never heard of."""
    with listed():
        place = place_of_saved(service, spec, row)
        root = place.store.root
        asked = [path for path in candidates if path == root or path.startswith(f"{root.rstrip('/')}/")]
        if not asked:
            return candidates[0], f"it is not below the source {root}: this ingestion never looks there"
        seen = dict(zip(asked, place.store.stat_all(asked), strict=True))
    path, found = next(((path, found) for path, found in seen.items() if isinstance(found, Entry)), (asked[0], None))
    pattern = spec.source.file_pattern
    if pattern is not None and not compile_pattern(pattern).matches(below(root, path)):
        return path, f"the pattern {pattern!r} does not match {below(root, path)!r}"
    if found is None:
        error = seen[path]
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return path, "there is no such file at the source, and the ledger knows of none"
        assert isinstance(error, OSError)
        return path, f"the ledger does not know it, and it is no file that could be loaded: {error.strerror or error}"
    return path, _not_seen(row, spec, root, found)


def _not_seen(row: RowMapping, spec: IngestionCreate, root: str, found: Entry) -> str:
    rules = Rules.of(spec, root, row["created_at"])
    if (skipped := rules.skip(found)) is not None:
        return f"it is at the source, and is not loaded: {skipped}"
    if rules.too_young(found):
        at = shown(found.modified_at)
        age = spec.source.min_age_seconds
        return f"it was written at {at}, less than source.min_age_seconds ({age}) ago: a later run loads it"
    problem = key_problem(s3_path(found.path).key) if spec.source.type == "s3" else name_problem(found.path)
    if problem is not None:
        return f"it is at the source, and cannot be loaded: {problem}"
    last = row["last_run_at"]
    looked = f"no run has looked since {shown(last)}" if last is not None else "no run has looked yet"
    return f"it is at the source, and {looked}: {_next_run(row['status'])} loads it"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
