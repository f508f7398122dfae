"""The single steps as jobs of their own, for people who take one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import NotFound

if TYPE_CHECKING:
    from core.jobs import Jobs, Work
    from core.repo import FeatureRepo
    from ingestion.steps import Steps

IMPORT, VALIDATE, APPLY, PREPROCESS = "import", "validate", "apply", "preprocess"
MATERIALIZE, DATASET = "materialize", "dataset"


def register_steps(jobs: Jobs, steps: Steps) -> None:
    """Register them; each that changes windows or their rows ends with a note of the data version."""

    def version(work: Work) -> str:
        return work.step("version", lambda: steps.version(work))

    def import_window(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        window = work.step("plan", lambda: steps.plan(arguments))
        if window is None:
            return {"window": None, "said": "There is nothing new, or what was fetched last is not validated yet."}
        done = work.step("import", lambda: steps.fetch(work, window), attempts=steps.attempts, pause=steps.pause)
        return {**done, "data_version": version(work)}

    def validate(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        done = work.step("validate", lambda: steps.validate(work), attempts=steps.attempts, pause=steps.pause)
        return {**done, "data_version": version(work)}

    def apply(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        return work.step("apply", lambda: steps.apply(work), attempts=steps.attempts, pause=steps.pause)

    def preprocess(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        done = work.step("preprocess", lambda: steps.preprocess(work), attempts=steps.attempts, pause=steps.pause)
        return {**done, "data_version": version(work)}

    def materialize(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        views = arguments.get("views")
        return work.step(
            "materialize", lambda: steps.materialize(work, views), attempts=steps.attempts, pause=steps.pause
        )

    def dataset(work: Work, arguments: dict[str, Any]) -> dict[str, Any]:
        return work.step("dataset", lambda: steps.dataset(work), attempts=steps.attempts, pause=steps.pause)

    jobs.register(IMPORT, import_window, steps=("plan", "import", "version"), queue="data")
    jobs.register(VALIDATE, validate, steps=("validate", "version"), queue="data")
    jobs.register(APPLY, apply, steps=("apply",), queue="data")
    jobs.register(PREPROCESS, preprocess, steps=("preprocess", "version"), queue="data")
    jobs.register(MATERIALIZE, materialize, steps=("materialize",), queue="data")
    jobs.register(DATASET, dataset, steps=("dataset",), queue="data")


def check_views(repo: FeatureRepo, views: list[str] | None) -> None:
    """Make sure that views to materialize exist, before a job is queued for them.

    Raises
    ------
    NotFound
        Naming the first that does not.
    """
    if not views:
        return
    from stores.registry import feature_views, open_store

    known = {view.name for view in feature_views(open_store(repo))}
    for view in views:
        if view not in known:
            raise NotFound(f"There is no feature view {view[:80]!r}.", hint=f"There are: {', '.join(sorted(known))}.")
