"""What a person sees: text always, HTML that is safe and whole, progress where somebody looks."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import autoloader_sdk.prefect.models  # noqa: F401 - its answers are among those that are tried
from autoloader_sdk import Client
from autoloader_sdk.events import RunEvent, between
from autoloader_sdk.files import File
from autoloader_sdk.ingestions import Ingestion
from autoloader_sdk.listing import Listing
from autoloader_sdk.models import (
    BatchData,
    ClusterData,
    FileData,
    FileVerdict,
    IngestionData,
    RefreshOperation,
    RunData,
    RunMetrics,
)
from autoloader_sdk.models.base import AnswerModel
from autoloader_sdk.notebook import display, progress

EVIL = '<img src=x onerror="alert(1)">&amp;\'"</table><script>'
RUN = {
    "id": "r1",
    "status": "partial",
    "metrics": {
        "files_processed": 334,
        "records_ingested": 1_234_567,
        "bytes_read": 1536,
        "bytes_written": 3 * 1024**3,
        "duration_seconds": 2.345,
        "error_count": 1,
        "held": 2,
    },
    "errors": [{"file": "bad.csv", "error_type": "data_malformed", "message": "line 3:\n  a quote is open"}],
    "warnings": ["z-ordering does nothing here"],
}


class Elements(HTMLParser):
    """The elements of a piece of HTML, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


SAFE = {"div", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td", "progress"}


def check(html: str) -> Elements:
    found = Elements(html)
    assert not found.open
    assert found.seen <= SAFE
    assert found.attributes <= {"style", "scope"}
    return found


def test_a_run_as_text_has_its_figures_and_each_failed_file_with_the_reason() -> None:
    assert display.run_text(RunData.model_validate(RUN)).splitlines() == [
        "run r1: partial",
        "  334 files, 1 failed, 1,234,567 rows, 1.5 KiB read, 3.0 GiB written, 2.3 s",
        "  held: 2",
        "  warning: z-ordering does nothing here",
        "  failed: bad.csv: line 3: a quote is open",
    ]


def test_a_run_that_failed_as_a_whole_gives_its_reason_once() -> None:
    run = {
        "id": "r",
        "status": "failed",
        "message": "Spark is gone",
        "errors": [{"message": "Spark is gone"}],
    }
    assert display.run_text(RunData.model_validate(run)).count("Spark is gone") == 1


def test_a_run_as_html_says_the_same() -> None:
    found = check(display.run_html(RunData.model_validate(RUN)))
    for words in ("partial", "1,234,567 rows", "bad.csv", "a quote is open", "held: 2"):
        assert words in found.text
    assert "progress" in check(display.run_html(RunData(id="r", status="running"))).seen


texts = st.sampled_from([EVIL, ""]) | st.text()


@given(texts, texts, texts)
def test_whatever_came_from_data_is_text(path: str, message: str, status: str) -> None:
    run = RunData.model_validate({"id": path, "status": status, "errors": [{"file": path, "message": message}]})
    file = FileData(path=path, status=status, reason=message)
    cluster = ClusterData(id=path, name=message, status=status)
    ingestion = IngestionData.model_validate({"id": "i", "name": path, "status": status, "source": {"path": message}})
    for html in (
        display.run_html(run),
        display.file_html(file),
        display.cluster_html(cluster),
        display.ingestion_html(ingestion),
        display.listing_html([File(file)]),
    ):
        check(html)
    assert " ".join(message.split()) in Elements(display.file_html(file)).text or not message.split()
    for text in (display.run_text(run), display.file_text(file), display.ingestion_text(ingestion)):
        assert text


def test_reprs_of_nearly_empty_answers_ask_nothing_and_do_not_raise() -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        found: Any = {"id": "ing_0123456789ab"}
        if request.method == "POST":
            found = {"status": "triggered"}
        elif request.url.path.endswith("/clusters"):
            found = [{"id": "c"}]
        elif request.url.path.endswith("/ingestions"):
            found = [found] * 60
        return httpx.Response(200, json=found)

    client = Client("http://127.0.0.1:9", transport=httpx.MockTransport(handler))
    ingestion = client.ingestions.get("ing_0123456789ab")
    records = [
        ingestion,
        ingestion.run(),
        client.clusters.get("c"),
        client.clusters.list(),
        client.ingestions.list(),
    ]
    count = len(asked)
    for record in records:
        assert repr(record)
        assert str(record)
        check(record._repr_html_())  # type: ignore[attr-defined]
    assert "60 entries (the first 50)" in records[-1]._repr_html_()  # type: ignore[attr-defined]
    assert check(Listing([])._repr_html_()).text == "none"
    assert len(asked) == count


# What a service of another version, or a file's name, may put into any field.
VALUES: list[Any] = [
    EVIL,
    "",
    "\0\x1b[31m\ud800\u202e",
    -1,
    0,
    1.5,
    1e308,
    10**30,
    True,
    None,
    [],
    {},
    [EVIL],
    {EVIL: EVIL},
]
VALUES += ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", [{"message": EVIL}], [{}], {"name": [EVIL, {}]}]


# What records show of the answers that they hold.
OWN: dict[type[AnswerModel], Callable[[Any], str]] = {
    RunData: display.run_html,
    IngestionData: display.ingestion_html,
    FileData: display.file_html,
    FileVerdict: display.verdict_html,
    BatchData: display.batch_html,
    ClusterData: display.cluster_html,
    RefreshOperation: display.refresh_html,
}


def kinds(base: type[AnswerModel]) -> list[type[AnswerModel]]:
    """All that answers are read into."""
    found = [kind for kind in base.__subclasses__() if kind.__module__.startswith("autoloader_sdk")]
    return found + [deeper for kind in found for deeper in kinds(kind)]


def filled(kind: type[AnswerModel]) -> Iterator[AnswerModel]:
    """Answers with each value in each field that takes it."""
    names = [field.alias or name for name, field in kind.model_fields.items()]
    fields = zip(names, kind.model_fields.values(), strict=True)
    least = {name: True if field.annotation is bool else EVIL for name, field in fields if field.is_required()}
    taken: dict[str, list[Any]] = {}
    for name in names:
        for value in VALUES:
            with suppress(ValidationError):
                kind.model_validate(least | {name: value})
                taken.setdefault(name, []).append(value)
    for at in range(len(VALUES)):
        answer = {name: values[at % len(values)] for name, values in taken.items()}
        with suppress(ValidationError):
            yield kind.model_validate(answer | {EVIL: EVIL})


@pytest.mark.parametrize("kind", kinds(AnswerModel), ids=lambda kind: kind.__name__)
def test_any_answer_shows_itself_whatever_it_says(kind: type[AnswerModel]) -> None:
    shown = list(filled(kind))
    assert len(shown) >= 3, "too few of these values are taken to tell anything"
    for answer in shown:
        assert repr(answer) is not None
        assert str(answer) is not None
        check(answer._repr_html_())
        if kind in OWN:
            check(OWN[kind](answer))


def test_collections_settings_and_events_show_themselves() -> None:
    client = Client("http://127.0.0.1:9", token="hidden-from-all")
    ingestion = Ingestion(client._link, IngestionData(id="ing_1", name=EVIL))
    collections: list[Any] = [client, client.ingestions, client.clusters, client.runs, client.tokens]
    collections += [ingestion.runs, ingestion.batches, ingestion.files, ingestion.schema_versions, client.config]
    event = RunEvent("failure", EVIL, RunData(id="r"), file=EVIL)
    for each in [*collections, event, *between(None, RunData.model_validate(RUN))]:
        found = check(each._repr_html_())
        assert found.text
        assert "hidden-from-all" not in found.text + repr(each) + str(each)
    assert check(client.ingestions._repr_html_()).text == "<Ingestions: create, estimate_cost, get, list, test>"
    assert ("token", "***", "argument") in client.config.rows()


def test_a_long_list_is_not_shown_whole() -> None:
    listing = Listing(range(10_000))
    assert repr(listing).endswith("48, 49, … and 9,950 more]")
    assert repr(Listing([1])) == "[1]"


def test_in_a_terminal_progress_is_one_line_a_second_and_the_end_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    show = progress._terminal(lambda: now)
    for moment, status in (
        (0.0, "queued"),
        (0.4, "running"),
        (1.0, "running"),
        (1.5, "running"),
        (1.6, "success"),
    ):
        now = moment
        metrics = (
            RunMetrics(files_processed=30, files_planned=120, duration_seconds=9) if moment == 1.0 else RunMetrics()
        )
        show(RunData(id="r", status=status, metrics=metrics))
    written = capsys.readouterr().err
    lines = written.split("\r\x1b[K")[1:]
    assert [line.split()[0] for line in lines] == ["0.0", "1.0", "1.6"]
    assert "█" * 5 + "░" * 15 in lines[1], "a quarter of the files"
    assert "success" in lines[-1]
    assert written.count("\n") == 1
    assert written.endswith("\n")


def test_where_nobody_looks_progress_is_quiet_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with progress.progress() as show:
        show(RunData(id="r", status="running"))
    assert out.getvalue() == ""
    with progress.progress(always=True) as show:
        for status in ("running", "running", "success"):
            show(RunData(id="r", status=status))
    assert len(out.getvalue().splitlines()) == 2


def test_a_run_tells_of_files_that_were_left_out() -> None:
    quiet = RunData(id="r", status="success", metrics=RunMetrics(skipped=0))
    told = RunData(id="r", status="success", metrics=RunMetrics(skipped=2))
    assert "skipped" not in display.run_text(quiet)
    assert "skipped: 2 (files(status='skipped') tells why)" in display.run_text(told)


def test_in_a_log_progress_is_one_line_in_ten_seconds_and_the_end_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    show = progress._lines(lambda: now)
    for moment, status in ((100.0, "running"), (105.0, "running"), (110.0, "running"), (112.0, "success")):
        now = moment
        show(RunData(id="r", status=status, metrics=RunMetrics(duration_seconds=moment - 100)))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(", ")[-1] for line in lines] == ["0.0 s", "10.0 s", "12.0 s"]


def test_a_run_that_goes_on_tells_its_pace_and_the_time_left() -> None:
    took = RunMetrics(files_processed=30, files_planned=120, error_count=10, bytes_read=40 * 2**20, duration_seconds=20)
    run = RunData(id="r", status="running", metrics=took, step="loading")
    assert display.left(run) == (40 / 120, 40.0)
    assert display.run_line(run).endswith("of 120 files, 2.0 MiB/s, about 40 s left")
    assert 'value="0.333" max="1"' in display.run_html(run)
    # Before the first file is in the table nobody can tell.
    begun = RunData(id="r", status="running", metrics=RunMetrics(files_planned=120, duration_seconds=3), step="loading")
    assert display.left(begun) is None
    assert display.run_line(begun).endswith("3.0 s, loading")
    assert "<progress>" in display.run_html(begun)
    assert display.left(RunData(id="r", status="success", metrics=took)) is None


NOTEBOOK = """
import json
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.kernel = object()
shell.display_pub = CapturingDisplayPublisher()
from autoloader_sdk.models import RunData, RunMetrics
from autoloader_sdk.notebook.progress import progress
with progress() as show:
    for status in ("running", "running", "success"):
        show(RunData(id="r", status=status))
print(json.dumps(shell.display_pub.outputs))
"""


@pytest.mark.parametrize(("seconds", "lines"), [(9.0, 0), (11.0, 2)])
def test_a_run_of_less_than_ten_seconds_leaves_no_line_in_a_log_unless_asked(
    capsys: pytest.CaptureFixture[str], seconds: float, lines: int
) -> None:
    now = 0.0
    show = progress._lines(lambda: now, at_once=False)
    show(RunData(id="r", status="running"))
    now = seconds
    show(RunData(id="r", status="running"))
    show(RunData(id="r", status="success"))
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_in_a_notebook_progress_is_one_block_that_updates() -> None:
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, check=True)
    first, last = json.loads(done.stdout.splitlines()[-1])
    assert (first["update"], last["update"]) == (False, True)
    assert first["transient"] == last["transient"]
    assert set(last["data"]) == {"text/plain", "text/html"}
    assert "<progress>" in first["data"]["text/html"]
    assert "success" in last["data"]["text/html"]
    assert done.stderr == ""
