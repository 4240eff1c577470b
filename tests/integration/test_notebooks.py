"""Each notebook of the project runs from its first cell to its last, and shows what its text says."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
# Words of what the cells of each show, in their order.
SHOWN = {
    "first-ingestion.ipynb": [
        "healthy",
        "2026-11-02.csv",
        "coffee",
        "draft",
        "2 files, 3 rows",
        "tea",
        "reason='new', files=2",
        "1 file, 1 failed",
        "where 'id' is no",
        "2026-11-04.csv: it failed (once)",
        "2026-11-03.csv: ",
        "in lake.tour.",
        "gift",
        "1 file, 1 row",
        "coffee         14.4",
        "SUCCESS",
        "SchemaVersion",
        "NEW_COLUMN",
    ]
}


def shown(notebook: nbformat.NotebookNode) -> str:
    """All that its cells print and show, as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_runs_and_shows_what_it_says(
    path: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOLOADER_HOME", str(home))
    monkeypatch.setenv("AUTOLOADER_DATABASE_URL", f"sqlite:///{tmp_path}/autoloader.db")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, resources=where, coalesce_streams=True).execute()
    text, at = shown(notebook), 0
    for words in SHOWN[path.name]:
        assert words in text[at:], f"{words!r} is not shown, or too early:\n{text}"
        at = text.index(words, at)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_kept_without_what_it_showed_somewhere(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert not [cell for cell in cells if cell.outputs or cell.execution_count is not None]
