"""The small loans repo, prepared for training, and its training set worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from core.database import database
from core.files import read_json
from core.model import PredictionModel
from core.registry import pointed_version
from core.settings import get_settings
from tests.repos.loans_world import LOANS as LOANS
from tests.repos.loans_world import LoansCopy
from training.params import TrainParams
from training.promotion import Promotions
from training.registry import Registry

QUICK = TrainParams(hist_gradient_boosting={"max_iter": 30, "min_samples_leaf": 20})
OTHER = TrainParams(hist_gradient_boosting={"max_iter": 3, "min_samples_leaf": 20}, logistic={"C": 0.001})


class Loans(LoansCopy):
    """A copy of the loans repo, with what training made of it."""

    def prepare(self, windows: int = 1) -> None:
        """Fetch further windows and compute their features."""
        from ingestion.fetch import fetch_window, next_window
        from ingestion.transform import transform
        from ingestion.validate import validate_all

        for _ in range(windows):
            window = next_window(self.repo)
            assert window is not None
            fetch_window(self.repo, window)
        list(validate_all(self.repo))
        transform(self.repo)

    def valid(self, table: str) -> pd.DataFrame:
        """Return the checked rows of a raw table."""
        return pd.concat(pd.read_parquet(p) for p in sorted(self.repo.layout.valid.glob(f"*/{table}.parquet")))

    def dataset(self) -> pd.DataFrame:
        """Return the training snapshot."""
        return pd.read_parquet(self.repo.layout.dataset / "train.parquet")

    def pointer(self) -> dict[str, str] | None:
        """Return what ``champion.json`` says; None where there is none."""
        path = self.repo.layout.models / "champion.json"
        return read_json(path) if path.is_file() else None

    def served(self) -> PredictionModel:
        """Open the model that serving would open."""
        name = self.pointer()
        assert name is not None
        return PredictionModel.load(self.repo.layout.models / name["version"])

    def challenger(self) -> str | None:
        """Return the version that ``challenger.json`` names; None where there is none."""
        return pointed_version(self.repo.layout, "challenger")

    def test_rows(self) -> tuple[dict[str, list[Any]], np.ndarray]:
        """Return columns and labels of the newest rows, by the split's own rule."""
        from training.dataset import read_dataset
        from training.split import time_split

        rows, _ = read_dataset(self.repo)
        frame = rows.select(["event_timestamp", "label_timestamp"]).to_pandas()
        parts = time_split(frame["event_timestamp"], frame["label_timestamp"], self.repo.problem.split)
        chosen = rows.take(parts.test)
        return chosen.to_pydict(), np.array(chosen.column("missed"))

    def by_hand(self) -> pd.DataFrame:
        """Work out the training set row by row in plain Python, ordered by payment."""
        loans, payments = self.valid("loans").set_index("loan_id"), self.valid("payments")
        now = self.repo.clock.now()
        out = []
        for row in payments[payments["known_at"] <= now].itertuples():
            loan, moment = loans.loc[row.loan_id], row.due_at - pd.Timedelta(days=1)
            own = payments[(payments["customer_id"] == loan["customer_id"]) & (payments["known_at"] <= moment)]
            last = own["known_at"].max()
            age = last - own["known_at"]
            recent = own[age <= pd.Timedelta(days=30)]
            # The view promises 45 days; older rows are no longer there.
            known = bool(len(own)) and moment - last <= pd.Timedelta(days=45)
            out.append(
                {
                    "loan_id": row.loan_id,
                    "event_timestamp": moment,
                    "missed": row.missed,
                    "region": loan["region"],
                    "hour": loan["known_at"].hour,
                    "payments_30d": len(recent) if known else np.nan,
                    "missed_30d": recent["missed"].sum() if known else np.nan,
                    "last_missed": own.loc[own["known_at"] == last, "missed"].max() if known else np.nan,
                    "amount_thousands": loan["amount"] / 1000.0,
                    "label_timestamp": row.known_at,
                }
            )
        return pd.DataFrame(out).sort_values(["loan_id", "event_timestamp"], ignore_index=True)


def promotions(loans: Loans, approvals: int = 1) -> Promotions:
    """Open the promotions of a repo anew, as another process would."""
    return Promotions(Registry(loans.repo), database(loans.repo, get_settings()), approvals)
