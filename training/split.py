"""Time-ordered split: learn from the past, choose on what came next, judge on what came last. Never random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.errors import NoData
from core.problem import Split

MIN_ROWS = 20


@dataclass(frozen=True)
class Parts:
    """Row positions of the three parts, and the moments between them.

    Attributes
    ----------
    train, validation, test : arrays of int
        Positions in the training set, each ordered by time.
    validation_from, test_from : Timestamp
        First moment of prediction of each later part, UTC.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    validation_from: pd.Timestamp
    test_from: pd.Timestamp


def time_split(event: pd.Series, label_known: pd.Series, split: Split) -> Parts:
    """Split rows by their moment of prediction.

    A row is left out of a part when its label became known only after the next part begins: a model trained at that
    moment could not have had it.

    Parameters
    ----------
    event, label_known : Series of n timestamps, UTC
        Moment of prediction, and when the label became known.
    split : Split
        Shares of the newest rows.

    Raises
    ------
    NoData
        When a part would hold fewer than 20 rows.
    """
    asked, known_at = (times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy() for times in (event, label_known))
    order = np.argsort(asked, kind="stable")
    moments, known = asked[order], known_at[order]
    count = len(order)
    validation_from = moments[min(count - 1, round(count * (1 - split.test - split.validation)))]
    test_from = moments[min(count - 1, round(count * (1 - split.test)))]
    train = order[(moments < validation_from) & (known <= validation_from)]
    validation = order[(moments >= validation_from) & (moments < test_from) & (known <= test_from)]
    test = order[moments >= test_from]
    for name, part in (("train", train), ("validation", validation), ("test", test)):
        if len(part) < MIN_ROWS:
            raise NoData(
                f"The {name} part would hold {len(part)} rows of {count}.",
                hint="Fetch more windows, or change split in problem.yaml.",
            )
    return Parts(train, validation, test, *(pd.Timestamp(m, tz="UTC") for m in (validation_from, test_from)))
