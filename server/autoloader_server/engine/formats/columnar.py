"""What pyarrow reads at the end of a columnar file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from autoloader_server.engine.formats.described import Told
from autoloader_server.engine.formats.text import Unreadable
from autoloader_server.engine.place import Place

if TYPE_CHECKING:
    import pyarrow as pa


def told_by(read: Callable[[BinaryIO], pa.Schema], name: str, place: Place, path: str) -> Told:
    """What a file tells of itself; `read` finds its schema, `name` is the format's in a sentence.

    Raises Unreadable where the file is not whole, OSError as opening and reading it do.
    """
    import pyarrow as pa

    with place.store.open_seekable(path) as file:
        try:
            schema = read(file)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise Unreadable(f"it is not a whole {name} file: {str(error).splitlines()[0]}") from error
    nested = any(pa.types.is_nested(kind) for kind in schema.types)
    return Told(schema.remove_metadata().to_string(), tuple(schema.names), nested)
