"""The small loans repo in a folder of its own, and what its feature rows should be, worked out by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd
from pandas.testing import assert_frame_equal

from core.windows import Window, as_utc
from ingestion.fetch import fetch_window
from ingestion.transform import transform
from ingestion.validate import validate_all
from tests.repos.loans_world import LoansCopy

START = as_utc(datetime(2024, 1, 1))
VIEWS = ("customer_payments", "loan_terms")
KEYS = {"customer_payments": "customer_id", "loan_terms": "loan_id"}


def day(number: float) -> datetime:
    """Return the moment so many days after the repo's first."""
    return START + timedelta(days=number)


def window(since: float, until: float) -> Window:
    """Return a window given in days after the repo's first."""
    return Window(day(since), day(until))


class Loans(LoansCopy):
    """A copy of the loans repo, with what ingestion made of it."""

    def source_gives(self, change: str) -> None:
        """Let ``source.py`` change what it returns: ``change`` sees ``tables``, ``since``, ``until``, ``pd``."""
        body = "\n".join(f"    {line}" for line in change.strip().splitlines())
        with (self.folder / "source.py").open("a") as file:
            file.write(
                f"\n\n_fetch_{id(change)} = fetch\n\n\ndef fetch(since, until):\n"
                f"    tables = _fetch_{id(change)}(since, until)\n{body}\n    return tables\n"
            )

    def raw(self, table: str, of: Window) -> pd.DataFrame:
        return pd.read_parquet(self.repo.layout.raw / of.id / f"{table}.parquet")

    def valid(self, table: str, of: Window) -> pd.DataFrame:
        return pd.read_parquet(self.repo.layout.valid / of.id / f"{table}.parquet")

    def payments(self, *windows: Window) -> pd.DataFrame:
        """Return the payments as known after these windows: the newest arrival of a key counts."""
        rows = pd.concat([self.valid("payments", w) for w in windows])
        return rows.drop_duplicates("payment_id", keep="last")

    def quarantine(self, table: str, of: Window) -> pd.DataFrame:
        path = self.repo.layout.quarantine / of.id / f"{table}.parquet"
        return pd.read_parquet(path) if path.is_file() else pd.DataFrame({"reason": []})

    def files(self, *parts: str) -> dict[str, bytes]:
        """Return the bytes of every file under a folder of ``data``."""
        root = self.folder.joinpath("data", *parts)
        return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    def rows(self, view: str) -> pd.DataFrame:
        """Return all feature rows of a view, oldest first."""
        parts = [pd.read_parquet(p) for p in sorted((self.folder / "data/features" / view).glob("*.parquet"))]
        order = [KEYS[view], "event_timestamp", "created_timestamp"]
        return pd.concat(parts).sort_values(order, ignore_index=True)

    def newest(self, view: str) -> pd.DataFrame:
        """Return the feature rows as they are known at the end: the last created of each key and moment."""
        rows = self.rows(view).drop_duplicates([KEYS[view], "event_timestamp"], keep="last")
        return rows.drop(columns="created_timestamp").reset_index(drop=True)


def ingest(loans: Loans, *windows: Window, each: bool = True) -> Loans:
    """Take windows in, up to the feature rows, after each (as they would arrive) or once at the end."""
    for one in windows:
        fetch_window(loans.repo, one)
        if each or one is windows[-1]:
            validate_all(loans.repo)
            transform(loans.repo)
    return loans


def assert_same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Fail unless ``right`` has the rows of ``left``, whatever the width of its integers."""
    assert_frame_equal(left, right[list(left.columns)], check_dtype=False)


def customer_payments_by_hand(payments: pd.DataFrame) -> pd.DataFrame:
    """Work out the ``customer_payments`` view row by row in plain Python."""
    out = []
    for customer, own in payments.groupby("customer_id"):
        for moment in sorted(set(own["known_at"])):
            age = moment - own["known_at"]
            recent = own[(age >= timedelta(0)) & (age <= timedelta(days=30))]
            out.append(
                {
                    "customer_id": customer,
                    "payments_30d": len(recent),
                    "missed_30d": int(recent["missed"].sum()),
                    "last_missed": int(own.loc[own["known_at"] == moment, "missed"].max()),
                    "event_timestamp": moment,
                }
            )
    return pd.DataFrame(out).sort_values(["customer_id", "event_timestamp"], ignore_index=True)
