"""A source that is listed for an answer, not for a run: what is wrong with it is said of its field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from autoloader_sdk.discovery.errors import SourceError, SourceForbidden, SourceMissing
from autoloader_sdk.models import IngestionCreate
from autoloader_server.engine.place import Place
from autoloader_server.security.credentials import CredentialMissing, resolve
from autoloader_server.security.redact import logger
from autoloader_server.services.errors import Fault, Invalid, NotDone

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from autoloader_server.service import Service

_log = logger(__name__)


def place_of(service: Service, body: IngestionCreate) -> Place:
    """The source of an ingestion that is not saved; its credentials come with it."""
    return _place(service, body, lambda: resolve(body.source.credentials))


def place_of_saved(service: Service, spec: IngestionCreate, row: RowMapping) -> Place:
    """The source of an ingestion that is saved, with the credentials that are kept apart from `spec`."""
    return _place(service, spec, partial(service.credentials_of, row["credentials"]))


def _place(service: Service, spec: IngestionCreate, credentials: Callable[[], Mapping[str, str]]) -> Place:
    return Place.of(spec.source, credentials, _log.info, spark_is_local=service.on_local_spark(spec.cluster_id))


@contextmanager
def listed() -> Iterator[None]:
    """Raises Invalid where the source in the block is not there or closed, NotDone where its store does not answer."""
    try:
        yield
    except CredentialMissing as error:
        raise Invalid([Fault(("body", "source", "credentials"), str(error))]) from error
    except (SourceMissing, SourceForbidden) as error:
        raise Invalid([Fault(("body", "source", "path"), str(error))]) from error
    except SourceError as error:
        raise NotDone(f"the source cannot be listed now: {error}") from error
