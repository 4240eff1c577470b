"""Refreshes: a table dropped and loaded anew. What was done, what it means, and the run that loads."""

from __future__ import annotations

from autoloader_sdk._http.endpoint import L, Resource
from autoloader_sdk.models import RefreshImpact, RefreshOperation, RefreshStep, RunData
from autoloader_sdk.notebook import display
from autoloader_sdk.runs import Run


class Refresh(Resource[L]):
    """The answer to a refresh. `data` has every field that the service sent."""

    def __init__(self, link: L, ingestion_id: str, data: RefreshOperation) -> None:
        super().__init__(link)
        self.data = data
        self._ingestion_id = ingestion_id

    @property
    def status(self) -> str:
        """accepted, dry_run, or partial_failure: then the last of `operations` says what failed."""
        return self.data.status

    @property
    def ok(self) -> bool:
        """Whether nothing of it failed."""
        return self.status != "partial_failure"

    @property
    def operations(self) -> list[RefreshStep]:
        """Its steps, in their order; none in a dry run."""
        return self.data.operations

    @property
    def impact(self) -> RefreshImpact:
        """How much there is to load, and what that takes."""
        return self.data.impact

    @property
    def warnings(self) -> list[str]:
        """What a person should know before it is done."""
        return self.data.warnings

    @property
    def run(self) -> Run[L] | None:
        """The run that loads; None in a dry run, without `auto_run`, and where a step failed."""
        if not self.data.run_id:
            return None
        told = {"id": self.data.run_id, "ingestion_id": self._ingestion_id, "status": "queued"}
        return Run(self._link, RunData.model_validate(told))

    def __repr__(self) -> str:
        return f"<Refresh {self.data.mode} of {self._ingestion_id}: {self.status}>"

    def __str__(self) -> str:
        return display.refresh_text(self.data)

    def _repr_html_(self) -> str:
        return display.refresh_html(self.data)
