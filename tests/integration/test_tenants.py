"""A tenant's load, with the tenant's own token and keys: every row that comes of it is the tenant's."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import MetaData, func, select
from tests.parts.listening import listening
from tests.parts.object_stores import Seaweed

from autoloader_sdk import Client, NotFound
from autoloader_sdk.models import TokenCreate
from autoloader_server.app import create_app
from autoloader_server.db.tables import ingestions, ledger, metadata, tokens
from autoloader_server.security.callers import HOLDER
from autoloader_server.service import Service
from autoloader_server.services import tokens as use_cases


def test_all_that_a_tenants_run_leaves_is_the_tenants(service: Service, namespace: str, seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    for name, text in (("a.csv", "id,n\n1,x\n"), ("b.csv", "id,n,more\n2,y,z\n"), ("bad.csv", 'id,n\n3,"open\n')):
        bucket.put(f"d/{name}", text)
    token, other = (
        use_cases.create(service.database, HOLDER, TokenCreate(name=tenant, scope="admin", tenant=tenant)).token
        for tenant in ("acme", "other")
    )
    with listening(create_app(service)) as url, Client(url, token) as client, Client(url, other) as stranger:
        source = {"type": "s3", "path": bucket.path("d/"), "credentials": bucket.credentials}
        made = client.ingestions.create(
            name="orders",
            source=source,
            format="csv",
            destination=f"lake.{namespace}.orders",
            on_bad_record="quarantine",
        )
        assert made.data.tenant_id == "acme"
        run = made.run().wait(180, progress=False, check=False)
        assert run.metrics.files_processed == 2
        bucket.put("d/c.csv", "id,n,more,most\n4,y,z,!\n")
        again = made.run().wait(180, progress=False, check=False)
        assert again.metrics.files_processed == 1
        lines = list(again.logs())
        assert lines[0].message == "started (manual)"
        assert lines[-1].message.startswith("ended: ")
        with pytest.raises(NotFound):
            stranger.runs.get(made.id, run.id)
        assert stranger.ingestions.list() == []
        # By whoever comes without a token nothing at all.
        assert httpx.get(f"{url}/api/v1/ingestions").status_code == 401
    assert service.queue.wait_idle(60)
    there = MetaData()
    with service.database.read() as connection:
        there.reflect(connection)
        filled = set()
        for table in metadata.sorted_tables:
            if table in (ledger, tokens):
                continue
            whose = connection.execute(select(table.c.tenant_id, func.count()).group_by(table.c.tenant_id)).all()
            assert {row[0] for row in whose} <= {"acme"}, table.name
            filled |= {table.name} if whose else set()
        assert connection.execute(select(ingestions.c.created_by)).scalars().all() == ["acme"]
    assert filled == set(metadata.tables) - {ledger.name, tokens.name}
