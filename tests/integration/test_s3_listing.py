"""Listing S3: every key is listed whatever it holds, and what the store refuses is said with its bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.parts.object_stores import Bucket, ObjectStore, Seaweed
from tests.parts.store_proxy import GONE, SLOW_DOWN, Answer, Asked, proxied

from autoloader_sdk.discovery import s3 as module
from autoloader_sdk.discovery.entries import Entry, identity
from autoloader_sdk.discovery.errors import SourceError, SourceForbidden, SourceMissing
from autoloader_sdk.discovery.listing import list_source
from autoloader_sdk.discovery.patterns import compile_pattern
from autoloader_sdk.discovery.s3 import S3Store
from autoloader_sdk.discovery.s3_access import S3Access

AWKWARD = [
    "two words.json",
    "percent%20twenty",
    "per%cent",
    "plus+plus",
    "hash#tag",
    "[1]",
    "{a,b}",
    "star*",
    "question?",
    "ü",
    "😀",
    " leading",
    "trailing ",
    "quo'te\"`",
    "<angle>|^~",
    "a&b=c;d:e@f$g",
    "dot.",
    "..x",
    "/".join(["y" * 240] * 4),
]
UNREADABLE = ["d/x//y", "d/./y", "d/../y", "d/tab\ty", "d//double", "d/del\x7f"]


@pytest.fixture(scope="module")
def awkward(seaweed: Seaweed) -> Bucket:
    bucket = seaweed.bucket()
    for name in AWKWARD:
        bucket.put(f"d/{name}", name)
    return bucket


def store(bucket: Bucket, key: str = "", **more: Any) -> S3Store:
    credentials = {**bucket.credentials, **more.pop("credentials", {})}
    return S3Store(bucket.path(key), S3Access.of(credentials), **more)


def keys(found: S3Store, pattern: str | None = None) -> list[str]:
    entries = [entry for page in list_source(found, pattern=pattern) for entry in page]
    return sorted(entry.path.split("/", 3)[3] for entry in entries)


def test_awkward_keys_are_listed_and_read_under_their_exact_names(awkward: Bucket) -> None:
    found = store(awkward, "d")
    entries = {entry.path: entry for page in list_source(found) for entry in page}
    assert set(entries) == {awkward.path(f"d/{name}") for name in AWKWARD}
    for path, entry in entries.items():
        with found.open(path) as stream:
            assert stream.read().decode() == path.removeprefix(awkward.path("d/"))
        assert found.stat(path) == entry
        assert identity(entry) == entry.etag.strip('"')  # type: ignore[union-attr]
    with found.open_seekable(awkward.path("d/per%cent")) as stream:
        stream.seek(-4, 2)
        assert stream.read() == b"cent"


@pytest.mark.parametrize("single_looks", [1, 1000])
def test_many_objects_are_looked_at_again_each_with_its_own_answer(
    awkward: Bucket, single_looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SINGLE_LOOKS", single_looks)
    found = store(awkward, "d/")
    paths = [awkward.path(f"d/{name}") for name in [*AWKWARD, "gone"]]
    looked = found.stat_all(paths)
    assert [type(one) for one in looked] == [Entry] * len(AWKWARD) + [FileNotFoundError]
    assert [one.path for one in looked if isinstance(one, Entry)] == paths[:-1]


@pytest.mark.parametrize("ordered", [False, True])
def test_a_pattern_and_a_folder_limit_what_is_listed(ministack: ObjectStore, ordered: bool) -> None:
    bucket = ministack.bucket()
    for key in ("dt=01/a.csv", "dt=01/b.txt", "dt=02/a.csv", "dt=021/a.csv", "dt=1/a.csv", "e.csv", "dt=02-x"):
        bucket.put(key, "x")
    found = store(bucket, ordered=ordered)
    assert keys(found, "*.csv") == ["dt=01/a.csv", "dt=02/a.csv", "dt=021/a.csv", "dt=1/a.csv", "e.csv"]
    assert keys(found, "dt=0*/*.csv") == ["dt=01/a.csv", "dt=02/a.csv", "dt=021/a.csv"]
    assert keys(store(bucket, "dt=02", ordered=ordered)) == ["dt=02/a.csv"]
    assert keys(store(bucket, "e.csv", ordered=ordered)) == ["e.csv"]
    assert keys(store(bucket, "nothing", ordered=ordered)) == []


def test_no_key_is_lost_where_the_quick_lister_gives_up_and_it_is_said_once(ministack: ObjectStore) -> None:
    bucket = ministack.bucket()
    good = [f"d/{number:04}.json" for number in range(1200)]
    for key in [*good, *UNREADABLE, "d/folder/"]:
        bucket.put(key, b"" if key.endswith("/") else "x")
    said: list[str] = []
    found = store(bucket, "d/", notice=said.append)
    entries = {entry.path: entry for page in list_source(found) for entry in page}
    assert set(entries) == {bucket.path(key) for key in [*good, *UNREADABLE, "d/folder/"]}
    assert {path for path, entry in entries.items() if entry.problem} == {bucket.path(key) for key in UNREADABLE}
    assert len(said) == 1
    assert len(found.stat_all([bucket.path(key) for key in good[:200]])) == 200


@pytest.mark.parametrize("trouble", [SLOW_DOWN, GONE], ids=["slow down", "gone"])
def test_a_page_that_fails_is_asked_for_once_more_and_not_the_whole(ministack: ObjectStore, trouble: Answer) -> None:
    bucket = ministack.bucket()
    for number in range(1100):
        bucket.put(f"d/{number:04}.json", "x")
    with proxied(ministack) as proxy:
        lists: list[Asked] = []

        def meant(asked: Asked) -> bool:
            """The second page, twice."""
            lists.append(asked)
            return "continuation-token" in asked.path and len(proxy.met) < 2

        proxy.answer, proxy.meant = trouble, meant
        assert len(keys(store(bucket, "d/", credentials={"endpoint_url": proxy.url}))) == 1100
        assert len(proxy.met) == 2
        assert len(lists) == 2 + 2, "two pages, the second of them asked for three times"


def test_an_object_and_a_folder_marker_of_one_name_are_told_apart(ministack: ObjectStore) -> None:
    bucket = ministack.bucket()
    bucket.put("d/a", "data")
    bucket.put("d/a/", b"")
    found = store(bucket, "d/")
    assert found.stat(bucket.path("d/a")).size == 4
    assert [one.size for one in found.stat_all([bucket.path("d/a")] * 60) if isinstance(one, Entry)] == [4] * 60


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"aws_access_key_id": "NOBODY"}, SourceForbidden, "does not know this aws_access_key_id"),
        ({"aws_secret_access_key": "wrong-secret"}, SourceForbidden, "aws_secret_access_key is not the one"),
        ({"endpoint_url": "http://127.0.0.1:1"}, SourceError, "does not answer; check source.credentials.endpoint_url"),
    ],
)
def test_refused_credentials_name_the_bucket_and_show_no_secret(
    awkward: Bucket, change: dict[str, str], kind: type[SourceError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        keys(store(awkward, credentials=change))
    text = str(caught.value)
    assert said in text
    assert repr(awkward.name) in text
    for secret in (
        awkward.credentials["aws_secret_access_key"],
        awkward.credentials["aws_access_key_id"],
        *change.values(),
    ):
        assert secret not in text or secret.startswith("http")


def test_anothers_bucket_and_one_that_is_not_there_are_told_apart(seaweed: Seaweed, awkward: Bucket) -> None:
    other = seaweed.bucket()
    with pytest.raises(
        SourceForbidden, match=rf"'{other.name}' may not be listed with these credentials.*s3:ListBucket"
    ):
        keys(store(other, credentials=awkward.credentials))
    with pytest.raises(SourceMissing, match="there is no bucket 'no-such-bucket'"):
        keys(S3Store("s3://no-such-bucket/x", S3Access.of(seaweed._keys("rootkey", "rootsecret"))))


def test_one_closed_object_among_many_is_one_error(seaweed: Seaweed) -> None:
    bucket = seaweed.bucket()
    for key in ("open/a", "closed/b"):
        bucket.put(key, "x")
    found = store(bucket, credentials=seaweed.partial(bucket))
    assert keys(found) == ["closed/b", "open/a"]
    with found.open(bucket.path("open/a")) as stream:
        assert stream.read() == b"x"
    with pytest.raises(PermissionError):
        found.open(bucket.path("closed/b"))


def test_without_keys_the_environments_own_are_used_and_never_mixed_with_given_ones(
    awkward: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", awkward.credentials["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", awkward.credentials["aws_secret_access_key"])
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", awkward.credentials["endpoint_url"])
    assert len(keys(S3Store(awkward.path("d"), S3Access.of({})))) == len(AWKWARD)
    # A token in the environment belongs to the environment's keys.
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of somebody else")
    assert len(keys(store(awkward, "d"))) == len(AWKWARD)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SourceForbidden, match=r"set source\.credentials\.aws_access_key_id"):
        keys(S3Store(awkward.path("d"), S3Access.of({})))


def test_the_literal_beginning_of_a_pattern_reads_only_its_folder(ministack: ObjectStore) -> None:
    bucket = ministack.bucket()
    bucket.put("2026/11/a.csv", "x")
    bucket.put("2026/12//b.csv", "x")  # would stop the quick lister
    said: list[str] = []
    found = store(bucket, notice=said.append)
    assert [entry.path for run in found.entries(compile_pattern("2026/11/*.csv")) for entry in run] == [
        bucket.path("2026/11/a.csv")
    ]
    assert said == []
