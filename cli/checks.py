"""`punctual check`: proofs on the user's own data, with exit code 3 when they find something."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli import context
from core.errors import CheckFailed
from core.progress import console
from core.windows import as_utc

if TYPE_CHECKING:
    from monitoring.comparison import SkewReport

_SHOWN = 20


def leakage(
    cut: Annotated[list[datetime] | None, typer.Option(help="Where to cut, UTC; may be given several times.")] = None,
    cuts: Annotated[int, typer.Option(help="Without --cut: how many cuts, spread over the history.")] = 3,
) -> None:
    """Prove that no feature knows the future: cut the raw data, compute again, and compare every earlier row.

    Names the view, row, column and both values of what leaks.
    """
    from ingestion.leakage import check_leakage, spread_cuts

    repo = context.repo()
    moments = [as_utc(c) for c in cut] if cut else spread_cuts(repo, cuts)
    report = check_leakage(repo, moments)
    _conclude(
        [str(leak) for leak in report.leaks],
        f"No leakage: {report.rows:,} rows are the same with all data and with what was known at {len(moments)} cuts.",
        "values know the future",
    )


def skew(
    sample: Annotated[int, typer.Option(help="Entities compared a feature view.")] = 200,
    logged: Annotated[int, typer.Option(help="Logged predictions rebuilt offline, the newest first.")] = 200,
) -> None:
    """Prove that what is served is what was trained on: online against point-in-time values, value by value.

    Entities are sampled from every view; vectors of the prediction log are rebuilt offline as of their moment. Says how
    much of it all was compared, and what was left out.
    """
    from monitoring.parts import counting
    from monitoring.skew import check_logged, check_sampled

    repo = context.repo()
    with context.online_store(repo):
        report = check_sampled(repo, sample)
    vectors = check_logged(repo, logged)
    there = sum(part.counted for part in counting(repo.layout))
    for line in (*_sampled(report, sample), *_logged(vectors, logged, there)):
        console.print(line, markup=False, soft_wrap=True)
    report.add(vectors)
    meant = "".join(f" {count:,} were {reason}." for reason, count in sorted(report.explained.items()))
    _conclude(
        [str(difference) for difference in report.differences],
        f"No skew: {report.values:,} values of {report.rows:,} rows are the same online and offline.{meant}",
        "values differ between online and offline",
        report.unexplained,
    )


def _sampled(report: SkewReport, asked: int) -> Iterator[str]:
    rows = f"{report.rows:,} rows that are online now"
    yield f"Compared {rows}: of every view the entities that changed last, {asked:,} at most (sampled)."


def _logged(report: SkewReport, asked: int, there: int) -> Iterator[str]:
    cut = ", the newest (sampled)" if report.rows == asked < there else ""
    yield f"Compared {report.rows:,} of {there:,} logged predictions{cut}."
    if report.left_out:
        # One prediction may lack several features: these do not add up to a number of predictions.
        why = ", ".join(f"{reason} ({count:,})" for reason, count in report.left_out.most_common())
        yield f"Left out: {why}."


def _conclude(found: list[str], good: str, bad: str, count: int | None = None) -> None:
    if not found:
        console.print(good)
        return
    for line in found[:_SHOWN]:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    more = f" (the first {_SHOWN} are above)" if len(found) > _SHOWN else ""
    raise CheckFailed(f"{len(found) if count is None else count} {bad}{more}.")
