"""Made-up loans: about twenty new ones a day, each paid back in weekly instalments that some customers miss.

Every day is drawn from its own seed, so any window gives the same rows however it is cut.
"""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pandera.pandas as pa

UTC_TIME = pd.DatetimeTZDtype(unit="us", tz="UTC")
ORIGIN = pd.Timestamp("2024-01-01", tz="UTC")
REGIONS = np.array(["north", "south", "west"])
INSTALMENTS = 4

SCHEMAS = {
    "loans": pa.DataFrameSchema(
        {
            "loan_id": pa.Column("int64", pa.Check.ge(0)),
            "customer_id": pa.Column("int64", pa.Check.in_range(0, 60)),
            "amount": pa.Column("float64", pa.Check.gt(0)),
            "region": pa.Column(str, pa.Check.isin(list(REGIONS))),
            "known_at": pa.Column(UTC_TIME),
        },
        unique=["loan_id"],
        metadata={"known_at": "known_at"},
    ),
    "payments": pa.DataFrameSchema(
        {
            "payment_id": pa.Column("int64"),
            "loan_id": pa.Column("int64"),
            "customer_id": pa.Column("int64"),
            "due_at": pa.Column(UTC_TIME),
            "missed": pa.Column("int64", pa.Check.isin([0, 1])),
            "known_at": pa.Column(UTC_TIME),
        },
        unique=["payment_id"],
        metadata={"known_at": "known_at", "references": {"loan_id": "loans.loan_id"}},
    ),
}


def _day(index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns of a day's loans, and what is drawn for each of their instalments."""
    rng = np.random.default_rng(1000 + index)
    count = 20
    customer = rng.integers(0, 60, count)
    loans = {
        "loan_id": np.arange(count) + index * 100,
        "customer_id": customer,
        "amount": rng.uniform(100, 5000, count).round(2),
        "region": REGIONS[customer % 3],
        "second": np.sort(rng.integers(0, 86_400, count)) + index * 86_400,
    }
    return loans, rng.uniform(size=count * INSTALMENTS)


def _payments(loans: pd.DataFrame, drawn: np.ndarray) -> pd.DataFrame:
    payments = loans.loc[loans.index.repeat(INSTALMENTS), ["loan_id", "customer_id", "amount", "known_at"]]
    weeks = np.tile(np.arange(1, INSTALMENTS + 1), len(loans))
    payments["payment_id"] = payments["loan_id"] * 10 + weeks
    payments["due_at"] = payments["known_at"] + pd.to_timedelta(weeks * 7, unit="D")
    # Some customers pay badly, and big loans are missed more often: something to learn.
    risk = 0.05 + 0.5 * (payments["customer_id"] % 5 == 0) + 0.2 * (payments["amount"] > 3000)
    payments["missed"] = (drawn < risk).astype("int64")
    payments["known_at"] = payments["due_at"] + timedelta(hours=2)
    return payments[list(SCHEMAS["payments"].columns)]


def fetch(since: datetime, until: datetime) -> dict[str, pd.DataFrame]:
    """Return the rows that became known in ``[since, until)``, UTC."""
    first = max(0, (pd.Timestamp(since) - ORIGIN).days - 7 * INSTALMENTS - 1)
    last = max(first, (pd.Timestamp(until) - ORIGIN).days)
    days = [_day(i) for i in range(first, last + 1)]
    loans = pd.DataFrame({name: np.concatenate([day[name] for day, _ in days]) for name in days[0][0]})
    loans["known_at"] = ORIGIN + pd.to_timedelta(loans.pop("second"), unit="s")
    out = {}
    for name, table in {"loans": loans, "payments": _payments(loans, np.concatenate([d for _, d in days]))}.items():
        times = [column for column in table if str(column).endswith("_at")]
        table = table.astype(dict.fromkeys(times, UTC_TIME))
        keep = (table["known_at"] >= since) & (table["known_at"] < until)
        out[name] = table[keep].sort_values(["known_at", SCHEMAS[name].unique[0]]).reset_index(drop=True)
    return out
