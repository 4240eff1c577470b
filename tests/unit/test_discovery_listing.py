"""Listing a local folder: every file once, in bytewise order, nothing left out in silence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoloader_sdk.discovery.entries import Entry, below, identity, local_path
from autoloader_sdk.discovery.errors import SourceForbidden, SourceMissing
from autoloader_sdk.discovery.listing import list_source

NOBODY = 65534


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))


def listed(source: Path | str, pattern: str | None = None) -> list[Entry]:
    return [entry for page in list_source(str(source), pattern=pattern) for entry in page]


def names(source: Path | str, pattern: str | None = None) -> list[str]:
    return [below(local_path(str(source)), entry.path) for entry in listed(source, pattern)]


def test_files_at_any_depth_come_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    wanted = ["B", "a", "a.csv", "a/x", "a/é", "a0", "é/z", "z/y/x/w", "￿", "\U00010000"]
    wanted.remove("a")  # a folder of that name is there
    write(tmp_path, *wanted)
    assert names(tmp_path) == sorted(wanted, key=os.fsencode)
    assert [entry.size for entry in listed(tmp_path)] == [len(n) for n in sorted(wanted, key=os.fsencode)]


@settings(max_examples=60, deadline=None)
@given(
    files=st.sets(
        st.lists(st.text("a.0é-", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join), max_size=12
    ),
    page_size=st.integers(1, 5),
)
def test_pages_are_full_and_together_the_whole_listing(files: set[str], page_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = set()
        for name in sorted(files):
            if any(part in (".", "..") for part in name.split("/")):
                continue
            try:
                write(Path(folder), name)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue  # `a` and `a/b` can not both be files
            kept.add(name)
        pages = list(list_source(folder, page_size=page_size))
        assert [entry.path for page in pages for entry in page] == sorted(
            (f"{folder}/{name}" for name in kept), key=os.fsencode
        )
        assert all(len(page) == page_size for page in pages[:-1])
        assert all(pages)


def test_an_entry_holds_size_time_and_an_identity_that_changes_with_them(tmp_path: Path) -> None:
    write(tmp_path, "a.csv")
    [before] = listed(tmp_path)
    assert before.path == f"{tmp_path}/a.csv"
    assert before.modified_ns == (tmp_path / "a.csv").stat().st_mtime_ns
    os.utime(tmp_path / "a.csv", ns=(0, before.modified_ns + 1))
    [after] = listed(tmp_path)
    assert identity(before) != identity(after)
    assert identity(after) == f"5-{before.modified_ns + 1}"


@pytest.mark.parametrize(("etag", "plain"), [('"ab-2"', "ab-2"), ('W/"x"', "x"), ("bare", "bare"), ("", "3-4")])
def test_an_identity_is_the_bare_etag_where_there_is_one(etag: str, plain: str) -> None:
    assert identity(Entry("/k", 3, 4, etag)) == plain


def test_a_pattern_chooses_and_closed_folders_it_can_not_match_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, "dt=01/a.csv", "dt=01/a.txt", "dt=02/b.csv", "other/c.csv", "d.csv")
    assert names(tmp_path, "*.csv") == ["d.csv", "dt=01/a.csv", "dt=02/b.csv", "other/c.csv"]
    assert names(tmp_path, "dt=*/*.csv") == ["dt=01/a.csv", "dt=02/b.csv"]
    assert names(tmp_path, "dt=02/*") == ["dt=02/b.csv"]
    (tmp_path / "other").chmod(0)
    try:
        with unprivileged(tmp_path):
            assert names(tmp_path, "dt=0[12]/*.csv") == ["dt=01/a.csv", "dt=02/b.csv"]
    finally:
        (tmp_path / "other").chmod(0o755)


def test_a_source_that_is_a_file_lists_that_file(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "b.csv")
    assert [entry.path for entry in listed(tmp_path / "a.csv")] == [f"{tmp_path}/a.csv"]
    assert listed(tmp_path / "a.csv", "*.json") == []


def test_an_empty_folder_has_no_page(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    assert list(list_source(str(tmp_path))) == []


def test_a_missing_source_is_named_and_a_wildcard_in_it_explained(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=f"no file or folder '{tmp_path}/nothing'"):
        listed(tmp_path / "nothing")
    with pytest.raises(SourceMissing, match="wildcards belong in file_pattern"):
        listed(tmp_path / "*.csv")
    write(tmp_path, "file")
    with pytest.raises(SourceMissing):
        listed(tmp_path / "file" / "x")


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Be a user whom permissions bind: root, in a container, reads everything."""
    if os.geteuid() != 0:
        yield
        return
    parents = [parent for parent in [folder, *folder.parents] if parent.stat().st_uid == 0 and parent != Path("/")]
    modes = {parent: parent.stat().st_mode for parent in parents}
    for parent in parents:
        parent.chmod(modes[parent] | 0o055)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for parent in parents:
            parent.chmod(modes[parent])


def test_a_forbidden_folder_is_an_error_that_names_it_and_never_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a/1", "closed/2", "z/3")
    (tmp_path / "closed").chmod(0)
    try:
        with unprivileged(tmp_path):
            with pytest.raises(SourceForbidden, match=f"'{tmp_path}/closed/'"):
                listed(tmp_path)
            with pytest.raises(SourceForbidden, match=f"'{tmp_path}/closed'"):
                listed(tmp_path / "closed")
    finally:
        (tmp_path / "closed").chmod(0o755)


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    source, outside = tmp_path / "source", tmp_path / "outside"
    write(source, "a/1")
    write(outside, "2", "deep/3")
    (source / "file-link").symlink_to(outside / "2")
    (source / "folder-link").symlink_to(outside)
    (source / "loop").symlink_to(source)
    (source / "above").symlink_to(tmp_path)
    (source / "inner").symlink_to(source / "a")
    (source / "dangling").symlink_to(tmp_path / "nothing")
    (source / "itself").symlink_to(source / "itself")
    (outside / "back").symlink_to(source)
    (outside / "round").symlink_to(outside)
    assert names(source) == ["a/1", "file-link", "folder-link/2", "folder-link/deep/3"]


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a")
    os.mkfifo(tmp_path / "fifo")
    assert names(tmp_path) == ["a"]


def test_files_that_go_away_during_the_listing_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a/1", "b/2", "c/3")
    pages = list_source(str(tmp_path), page_size=1)
    first = next(pages)
    shutil.rmtree(tmp_path / "b")
    assert [below(str(tmp_path), entry.path) for entry in [*first, *(e for page in pages for e in page)]] == [
        "a/1",
        "c/3",
    ]


def test_names_that_spark_can_not_read_are_listed_with_the_problem(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path)
    for name in (b"fine", b"a:b", b"a\nb", b"caf\xe9", b"caf\\xe9", b"d\xff/x:y", b"d:/inner/x"):
        path = os.path.join(raw, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(b"x")
    found = {below(str(tmp_path), entry.path): entry.problem or "" for entry in listed(tmp_path)}
    assert list(found) == sorted(found)
    assert found["fine"] == ""
    assert "a colon" in found["a:b"]
    assert "a newline" in found["a\nb"]
    assert found["caf\\xe9"] == ""  # the file that is really called so
    assert "not UTF-8" in found["\\caf\\xe9"]
    assert "not UTF-8" in found["d\\xff/x:y"]
    assert "a colon" in found["d:/inner/x"]
    assert len(found) == 7
    for shown in found:
        shown.encode()  # can be stored


@pytest.mark.parametrize(
    ("given_path", "path"),
    [
        ("/data/x/", "/data/x"),
        ("file:///data/a%20b#c", "/data/a%20b#c"),
        ("file:/data/x", "/data/x"),
        ("file://localhost/data", "/data"),
        ("//data//x/../y", "/data/y"),
        ("/", "/"),
    ],
)
def test_a_local_path_is_absolute_and_raw(given_path: str, path: str) -> None:
    assert local_path(given_path) == path


def test_a_relative_path_is_taken_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_path("data/x/") == f"{os.getcwd()}/data/x"


@pytest.mark.parametrize("path", ["", "s3://bucket/x", "file://host/x", "a\0b"])
def test_what_is_no_local_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"source\.path"):
        local_path(path)


def test_below_is_the_way_back_from_a_path_to_its_source() -> None:
    assert below("/", "/a/b") == "a/b"
    assert below("/d", "/d/a") == "a"
    assert below("/d/a.csv", "/d/a.csv") == "a.csv"
    with pytest.raises(ValueError, match="not below"):
        below("/d", "/dd/a")


def test_100_000_files_in_a_folder_take_little_memory(tmp_path: Path) -> None:
    for number in range(100):
        folder = tmp_path / f"day={number:03}"
        folder.mkdir()
        for part in range(1000):
            os.close(os.open(folder / f"part-{part:05}.json", os.O_CREAT | os.O_WRONLY))
    script = (
        "import resource, sys\n"
        "from autoloader_sdk.discovery.listing import list_source\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "files = sum(len(page) for page in list_source(sys.argv[1]))\n"
        "print(files, peak() - before)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    files, kilobytes = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()
    assert int(files) == 100_000
    unit = 1024 if sys.platform == "darwin" else 1
    assert int(kilobytes) / unit < 16 * 1024
