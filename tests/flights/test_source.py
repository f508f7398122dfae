"""The event feeds against the archive's other columns: the clocks at the gates and the time in the air."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tests.flights.archive import clock, flights

pytestmark = pytest.mark.slow

DAY = pd.Timedelta(days=1)


@pytest.fixture(scope="session")
def truth():
    return flights()


@pytest.fixture(scope="session")
def schedule(tables, truth):
    return tables["schedule"].set_index("flight_id").reindex(truth.index)


@pytest.fixture(scope="session")
def outcomes(tables, truth):
    return tables["outcomes"].set_index("flight_id").reindex(truth.index)


def test_every_flight_is_planned_once_and_comes_to_one_end(tables, truth):
    for name in ("schedule", "outcomes"):
        assert tables[name]["flight_id"].is_unique
        assert set(tables[name]["flight_id"]) == set(truth.index)
    assert set(tables["departures"]["flight_id"]) == set(truth.index[truth["dep_time"].notna()])


def test_planned_departures(schedule, truth):
    assert (schedule["sched_dep"] == truth["sched_dep"]).all()
    assert (
        clock(schedule["sched_dep"], truth["zone"].map(lambda _: "America/New_York")) == truth["sched_dep_time"]
    ).all()


def test_planned_arrivals_are_what_the_destination_s_clock_shows(schedule, truth):
    wrong = clock(schedule["sched_arr"], truth["zone"]) != truth["sched_arr_time"] % 2400
    assert wrong.sum() <= 2  # planned into the hour that a change to summer time skips
    assert (schedule["sched_arr"] > schedule["sched_dep"]).all()


def test_a_departure_is_known_when_the_gate_s_clock_says(tables, truth):
    known = tables["departures"].set_index("flight_id")["known_at"]
    left = truth.loc[known.index]
    home = pd.Series("America/New_York", index=left.index)
    assert (clock(known, home) == left["dep_time"].astype(int) % 2400).all()


def test_an_arrival_is_known_when_the_destination_s_clock_says(outcomes, truth):
    arrived = truth[~truth["never"]]
    known = outcomes.loc[arrived.index, "known_at"]
    wrong = clock(known, arrived["zone"]) != arrived["arr_time"].astype(int) % 2400
    # 2:03 on the night to summer time, which no clock showed.
    assert wrong[wrong].index.tolist() == ["20130309-B635-JFK"]


def test_from_gate_to_gate_is_the_time_in_the_air_and_some_taxiing(outcomes, truth):
    arrived = truth[~truth["never"]]
    gate_to_gate = (outcomes.loc[arrived.index, "known_at"] - arrived["dep"]).dt.total_seconds() / 60
    taxiing = gate_to_gate - arrived["air_time"]
    assert taxiing.between(3, 240).all()  # an hour or a day too many would show
    assert taxiing.median() == pytest.approx(28, abs=2)


@pytest.mark.parametrize(
    ("flight_id", "arrival"),
    [
        ("20130101-UA1545-EWR", "2013-01-01 14:30"),  # Houston, an hour behind: 8:30 there
        ("20130101-B6725-JFK", "2013-01-01 14:04"),  # 10:04 in Aguadilla, which is in no table of airports
        ("20131102-VX413-JFK", "2013-11-03 08:14"),  # the night that summer time ends
        ("20130309-B635-JFK", "2013-03-10 07:03"),  # the night that it begins
    ],
)
def test_arrivals_that_one_can_look_up(outcomes, flight_id, arrival):
    assert outcomes.loc[flight_id, "known_at"] == pd.Timestamp(arrival, tz="UTC")


def test_outcomes(outcomes, truth):
    expected = pd.Series("arrived", index=truth.index)
    expected[truth["never"]] = "diverted"
    expected[truth["dep_time"].isna()] = "cancelled"
    assert (outcomes["outcome"] == expected).all()
    assert outcomes["arr_delay"].isna().equals(truth["never"])


def test_nothing_is_known_before_it_can_be(outcomes, schedule, truth):
    assert (outcomes["known_at"] >= schedule["sched_dep"])[truth["dep_time"].isna()].all()
    assert (outcomes["known_at"] > truth["dep"])[~truth["never"]].all()
    diverted = truth["never"] & truth["dep_time"].notna()
    assert (outcomes["known_at"] >= schedule["sched_arr"] + pd.Timedelta(minutes=15))[diverted].all()
    assert (outcomes["known_at"] >= truth["dep"])[diverted].all()


def test_the_plan_is_out_a_day_ahead(schedule):
    ahead = schedule["sched_dep"] - schedule["known_at"]
    start = pd.Timestamp("2013-01-01", tz="UTC")
    assert ((ahead == DAY) | (schedule["known_at"] == start)).all()
    assert (ahead >= timedelta(hours=1)).all()  # in time for a prediction one hour before


def test_a_missing_aircraft_does_not_give_a_cancellation_away(schedule, outcomes):
    unknown = schedule["tailnum"].isna()
    assert (outcomes["outcome"] == "cancelled")[unknown].sum() == 0


def test_the_plan_put_back_knows_no_later_flight(schedule, truth):
    put_back = truth[truth["tailnum"].isna()].sample(60, random_state=1)
    number = truth["carrier"] + truth["flight"].astype(str)
    named = truth["tailnum"].notna()
    for flight_id, row in put_back.iterrows():
        before = truth[named & (truth["carrier"] == row["carrier"]) & (truth["sched_dep"] <= row["sched_dep"])]
        aircraft = schedule.loc[flight_id, "tailnum"]
        assert aircraft in set(before["tailnum"])
        same = before[(number[before.index] == number[flight_id]) & (before["origin"] == row["origin"])]
        if len(same):
            assert aircraft == same.sort_values("sched_dep")["tailnum"].iloc[-1]


def test_what_flew_flew_with_its_own_aircraft(tables, truth):
    for name in ("schedule", "departures", "outcomes"):
        told = tables[name].set_index("flight_id")["tailnum"]
        own = truth["tailnum"].reindex(told.index)
        assert (told == own)[own.notna()].all()


def test_weather_is_known_at_the_end_of_its_hour(tables):
    weather = tables["weather"]
    first = weather[weather["origin"] == "EWR"].iloc[0]
    # The archive's first row, 1 January 1:00 in New York: 39.02 degrees.
    assert (first["known_at"], first["temp"]) == (pd.Timestamp("2013-01-01 07:00", tz="UTC"), 39.02)
    assert not weather.duplicated(["origin", "known_at"]).any()


def test_all_but_one_known_mistake_passes_the_schemas(tables, repo):
    for name, table in tables.items():
        if name == "weather":
            assert (table["wind_speed"] > 200).sum() <= 1  # 1,048 miles an hour
            table = table[~(table["wind_speed"] > 200) & ~(table["wind_gust"] > 250)]
        repo.schemas[name].validate(table, lazy=True)


def test_windows_cut_anywhere_give_all_rows_once(repo):
    def at(*moment: int) -> datetime:
        return datetime(2013, *moment, tzinfo=UTC)

    whole = repo.fetch(at(3, 9), at(3, 12))
    cuts = [at(3, 9), at(3, 10, 6, 59), at(3, 10, 7), at(3, 11, 23, 59), at(3, 12)]
    parts = [repo.fetch(a, b) for a, b in itertools.pairwise(cuts)]
    for name, table in whole.items():
        assert_frame_equal(pd.concat([p[name] for p in parts], ignore_index=True), table)
        assert table["known_at"].between(at(3, 9), at(3, 12), inclusive="left").all()
    assert len(whole["outcomes"]) > 1000
