"""Commands on data: raw windows in, feature rows out, online store filled, history read."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import context
from core.errors import DataError, NoData
from core.progress import console
from core.windows import Window, as_utc


def fetch(
    initial: Annotated[
        bool, typer.Option("--initial", help="Only make sure that the first window of problem.yaml is there.")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option(help="Fetch [since, until), UTC, instead of the next window.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="End of the window, exclusive, UTC.")] = None,
) -> None:
    """Fetch the next raw window (or the one named) and keep it; on the replay clock, time moves to its end.

    A window is written whole or not at all. Fetching one again changes nothing.
    """
    from ingestion.fetch import fetch_window, next_window

    repo = context.repo()
    if (since is None) != (until is None):
        raise typer.BadParameter("--since and --until go together.")
    if since is not None and until is not None:
        window: Window | None = Window(as_utc(since), as_utc(until))
    elif initial:
        window = repo.problem.data.initial
    else:
        window = next_window(repo)
    if window is None:
        console.print(f"Nothing left to fetch: the source ends at {repo.problem.data.end:%Y-%m-%d}.")
        return
    manifest = fetch_window(repo, window)
    rows = ", ".join(f"{name} {table['rows']:,}" for name, table in manifest["tables"].items())
    console.print(f"{window}: {rows}")


def validate() -> None:
    """Check every raw window that is not checked yet; bad rows go to quarantine with the reason."""
    from ingestion.validate import validate_all

    for report in validate_all(context.repo()):
        console.print(report.summary(), markup=False)


def apply() -> None:
    """Register the Feast definitions (as `feast apply` does) and write data/registry.json beside the registry."""
    from stores.registry import apply as apply_registry

    version = apply_registry(context.repo())
    console.print(f"Feast registry applied, version {version}.")


def transform(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Compute all of history again, window by window.")] = False,
) -> None:
    """Turn checked raw rows into feature rows: the windows that are new, and what late rows change."""
    from ingestion.transform import rebuild as rebuild_all
    from ingestion.transform import transform as transform_new

    done = rebuild_all(context.repo()) if rebuild else transform_new(context.repo())
    for view, rows in done.items():
        console.print(f"{view}: {rows:,} rows")


def materialize(
    views: Annotated[list[str] | None, typer.Argument(help="Feature views; all of them by default.")] = None,
) -> None:
    """Write what arrived since the last time into the online store, never older over newer.

    A flushed or new online store is filled from the start; a killed run goes on where it was.
    """
    from core.progress import progress
    from stores.registry import open_store
    from stores.writer import materialize as write_online

    repo = context.repo()
    store = open_store(repo)
    with progress("Materializing") as advance:
        report = write_online(store, views or None, now=repo.clock.now(), progress=advance)
    console.print(report.summary())


def features(
    entities: Annotated[Path, typer.Argument(help="CSV or Parquet: join keys, event_timestamp, request inputs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the Parquet.")] = Path("features.parquet"),
    service: Annotated[str | None, typer.Option(help="Feature service; the problem's own by default.")] = None,
) -> None:
    """Read point-in-time features for the rows of a file: what was known at each row's `event_timestamp`.

    Rows keep their number and order; columns that are no keys pass through. Times without a zone are UTC.
    """
    import pandas as pd

    from core.files import atomic_path
    from stores.registry import feature_service, open_store, request_inputs

    repo = context.repo()
    if not entities.is_file():
        raise NoData(f"There is no file {entities}.", hint="Give a CSV or Parquet file of entity rows.")
    frame = pd.read_parquet(entities) if entities.suffix == ".parquet" else pd.read_csv(entities)
    if "event_timestamp" not in frame:
        raise DataError(
            f"{entities} has no column event_timestamp, only {', '.join(map(str, frame.columns))}.",
            hint="Add the moment, UTC, at which each row's features are wanted.",
        )
    store = open_store(repo)
    chosen = feature_service(repo, store, service)
    moments = [name for name, kind in request_inputs(store, chosen).items() if kind == "UNIX_TIMESTAMP"]
    for name in ["event_timestamp", *moments]:
        if name in frame:
            try:
                frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
            except ValueError as error:
                raise DataError(f"{entities}: column {name} holds no times: {error}", hint="Write ISO 8601.") from error
    job = store.get_historical_features(entity_df=frame, features=chosen)
    table = job.to_arrow()
    with atomic_path(out) as temporary:
        import pyarrow.parquet as pq

        pq.write_table(table, temporary, coerce_timestamps="us", allow_truncated_timestamps=True)
    console.print(f"{out}: {table.num_rows:,} rows, {table.num_columns} columns, as of each row's event_timestamp.")
