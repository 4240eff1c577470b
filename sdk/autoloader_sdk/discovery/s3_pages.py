"""The other lister: a tenth of the speed, and no key that it cannot tell.

obstore gives up a whole listing at a key with `//`, a folder `.` or `..`, or a control character in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from autoloader_sdk.discovery.errors import SourceError
from autoloader_sdk.discovery.s3_access import DEFAULT_REGION, S3Access, current_keys
from autoloader_sdk.discovery.s3_errors import source_error

Listed = tuple[str, int, int, str | None]
"""Key, size, modification time in seconds since 1970, ETag."""


def list_pages(access: S3Access, bucket: str, prefix: str, after: str | None) -> Iterator[list[Listed]]:
    """The objects whose keys begin with `prefix`, behind the key `after` where one is given. Raises SourceError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        request = {"Bucket": bucket, "Prefix": prefix} | ({"StartAfter": after} if after else {})
        for page in _client(access).get_paginator("list_objects_v2").paginate(**request):
            yield [
                (item["Key"], int(item["Size"]), _seconds(item["LastModified"]), item.get("ETag"))
                for item in page.get("Contents", [])
            ]
    except ClientError as error:
        answer = error.response.get("Error", {})
        raise source_error(bucket, access, answer.get("Code"), f"<Region>{answer.get('Region', '')}</Region>") from None
    except BotoCoreError as error:
        raise SourceError(
            f"s3://{bucket}", f"the bucket {bucket!r} could not be listed: {type(error).__name__} at {access.where}"
        ) from None


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _client(access: S3Access) -> Any:
    import botocore.session
    from botocore.config import Config

    session = botocore.session.get_session()
    # Its own reading of dates takes half of a listing's time.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    keys = current_keys(access)
    return session.create_client(
        "s3",
        region_name=access.region or DEFAULT_REGION,
        endpoint_url=access.endpoint,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.token,
        config=Config(
            connect_timeout=10,
            read_timeout=60,
            retries={"max_attempts": 4, "mode": "standard"},
            s3={"addressing_style": "path" if access.endpoint else "auto"},
        ),
    )
