"""Listing a local folder: about 1.3 times the cost of the bare `os.scandir` and `stat` beneath it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from stat import S_ISREG
from typing import NamedTuple

from autoloader_sdk.discovery.entries import Entry
from autoloader_sdk.discovery.errors import SourceError, SourceForbidden, SourceMissing
from autoloader_sdk.discovery.patterns import Pattern


class _Folder(NamedTuple):
    """A folder still to be read; both paths end with a slash."""

    shown: str  # in the entries below it
    path: str
    problem: str | None  # of its name, and so of all that is in it
    real_roots: tuple[str, ...]  # the source and the targets of the links that led here


# Entry.path and _Folder.shown.
_path = itemgetter(0)

# Entry(…) costs 0.3 µs a file more than this, which fills in no defaults.
_new_entry = tuple.__new__


def list_local(root: str, pattern: Pattern | None) -> Iterator[list[Entry]]:
    """The files below `root` (or `root` itself) that match, in bytewise order, as runs of any length.

    One folder at a time is held in memory. Links to files are followed, and links to folders, but for those
    that lead into the source, where the files are listed anyway, or back above it. What is neither a file nor
    a folder, a dangling link, and a file that goes away meanwhile are left out.
    """
    try:
        status = os.stat(root)
        if S_ISREG(status.st_mode):
            if pattern is None or pattern.matches(root.rpartition("/")[2]):
                yield [Entry(_shown(root), status.st_size, status.st_mtime_ns, None, name_problem(root))]
            return
        real_root = os.path.realpath(root, strict=True)
        slash = "" if root == "/" else "/"
        top = _Folder(_shown(root) + slash, root + slash, name_problem(root), (real_root,))
        parts = _read_folder(top, "", pattern)
    except OSError as error:
        raise _source_error(root, error) from error
    # Depth first: what is left of each folder on the way down.
    levels = [iter(parts)]
    while levels:
        part = next(levels[-1], None)
        if part is None:
            levels.pop()
        elif isinstance(part, list):
            yield part
        else:
            try:
                parts = _read_folder(part, part.path[len(top.path) :], pattern)
            except FileNotFoundError:
                continue  # went away since its parent was read
            except OSError as error:
                raise _source_error(part.path, error) from error
            levels.append(iter(parts))


def _read_folder(folder: _Folder, relative: str, pattern: Pattern | None) -> list[list[Entry] | _Folder]:
    """The files of a folder, as runs, and between them its folders, in the order in which they are listed.

    A folder sorts as its name with a `/`: read depth first, whole paths then come in bytewise order.
    """
    files: list[Entry] = []
    folders: list[_Folder] = []
    matches = pattern.matches if pattern else None
    with os.scandir(folder.path) as found:
        for item in found:
            try:
                if item.is_file():
                    if matches is None or matches(relative + item.name):
                        status = item.stat()
                        values = (item.path, status.st_size, status.st_mtime_ns, None, None)
                        files.append(_new_entry(Entry, values))
                elif item.is_dir() and _may_hold(relative + item.name + "/", pattern):
                    real_roots = _followed(item, folder.real_roots)
                    if real_roots:
                        folders.append(_Folder(item.path + "/", item.path + "/", None, real_roots))
            except OSError as error:
                # A file that went away meanwhile, or a link to nothing or to itself, is no file.
                if error.errno not in (errno.ENOENT, errno.ELOOP):
                    raise _source_error(item.path, error) from error
    if folder.problem or any(map(_has_problem, ("/".join(map(_path, part)) for part in (files, folders)))):
        files, folders = _with_problems(folder, files, folders)
    files.sort(key=_path)
    return list(_interleaved(files, folders)) if folders else [files]


def _interleaved(files: list[Entry], folders: list[_Folder]) -> Iterator[list[Entry] | _Folder]:
    for kind, children in groupby(sorted([*files, *folders], key=_path), type):
        if kind is Entry:
            yield [child for child in children if isinstance(child, Entry)]
        else:
            yield from (child for child in children if isinstance(child, _Folder))


def _may_hold(relative: str, pattern: Pattern | None) -> bool:
    prefix = pattern.literal_prefix if pattern else ""
    return relative.startswith(prefix) or prefix.startswith(relative)


def _followed(item: os.DirEntry[str], real_roots: tuple[str, ...]) -> tuple[str, ...]:
    """The real roots of what is below a folder; none for a link into, or above, what is being listed."""
    if not item.is_symlink():
        return real_roots
    target = os.path.realpath(item.path, strict=True)
    if any(os.path.commonpath([root, target]) in (root, target) for root in real_roots):
        return ()
    return (*real_roots, target)


def _has_problem(path: str) -> bool:
    return ":" in path or "\n" in path or not _is_utf8(path)


def _is_utf8(path: str) -> bool:
    """Whether the name's bytes were UTF-8; others were decoded to lone surrogates, which do not encode."""
    try:
        path.isascii() or path.encode()
    except UnicodeEncodeError:
        return False
    return True


def name_problem(path: str) -> str | None:
    """What Spark can not read in a path of the scheme `file:`."""
    if ":" in path:
        what = "a colon"
    elif "\n" in path:
        what = "a newline"
    elif not _is_utf8(path):
        what = "bytes that are not UTF-8"
    else:
        return None
    return f"the path has {what} in it, which Spark can not read: rename it"


def _shown(path: str) -> str:
    r"""A path that can be stored: bytes that are not UTF-8 written as `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _with_problems(folder: _Folder, files: list[Entry], folders: list[_Folder]) -> tuple[list[Entry], list[_Folder]]:
    """The children with the problem of their name or their folder's, under paths that can be stored."""
    taken = set(map(_path, (*files, *folders)))

    def shown(path: str) -> str:
        name = path[len(folder.path) :]
        if _is_utf8(name):
            return folder.shown + name
        storable = _shown(name)
        while folder.path + storable in taken:  # by a file that is really called so
            storable = "\\" + storable
        taken.add(folder.path + storable)
        return folder.shown + storable

    def problem(path: str) -> str | None:
        return folder.problem or name_problem(path[len(folder.path) :])

    return (
        [file._replace(path=shown(file.path), problem=problem(file.path)) for file in files],
        [child._replace(shown=shown(child.path), problem=problem(child.path)) for child in folders],
    )


def _source_error(path: str, error: OSError) -> SourceError:
    where = _shown(path)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        wild = re.search(r"[*?\[{]", where) is not None
        advice = "wildcards belong in file_pattern" if wild else "check the path, and that it is there on this machine"
        return SourceMissing(where, f"there is no file or folder {where!r}: {advice}")
    if isinstance(error, PermissionError):
        advice = "give it the right to read files and list folders there"
        return SourceForbidden(where, f"{where!r} may not be read by this user ({error.strerror}): {advice}")
    return SourceError(where, f"{where!r} could not be listed: {error.strerror}")
