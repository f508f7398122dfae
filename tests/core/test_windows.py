from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import FixedClock, ReplayClock
from core.errors import ConfigError, NoData
from core.windows import Window, list_windows

moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda m: m.replace(microsecond=0)
)


@given(moments, st.integers(1, 10**9))
def test_id_reads_back(since, seconds):
    window = Window(since, since + timedelta(seconds=seconds))
    assert Window.parse(window.id) == window


@given(moments, moments, moments)
def test_names_sort_like_windows(a, b, c):
    if a < c and b < c:
        assert (Window(a, c).id < Window(b, c).id) == (a < b)


def test_other_zones_become_utc():
    window = Window(datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2024, 1, 1))
    assert window.since == datetime(2023, 12, 31, 22, tzinfo=UTC)
    assert window.until == datetime(2024, 1, 1, tzinfo=UTC)


def test_empty_window_is_refused():
    with pytest.raises(ConfigError, match="end after it starts"):
        Window(datetime(2024, 1, 1), datetime(2024, 1, 1))


@pytest.mark.parametrize("name", ["", "x", "20240101T000000Z", "2024_2025"])
def test_bad_names_are_refused(name):
    with pytest.raises(ConfigError, match="not the name of a window"):
        Window.parse(name)


def test_unfinished_windows_do_not_count(tmp_path):
    done = Window(datetime(2024, 1, 1), datetime(2024, 2, 1))
    later = Window(datetime(2024, 2, 1), datetime(2024, 3, 1))
    (tmp_path / done.id).mkdir()
    (tmp_path / f".{later.id}.123.tmp").mkdir()
    assert list_windows(tmp_path) == [done]
    assert ReplayClock(tmp_path).now() == datetime(2024, 2, 1, tzinfo=UTC)


def test_replay_clock_without_data_says_what_to_do(tmp_path):
    with pytest.raises(NoData, match="punctual fetch"):
        ReplayClock(tmp_path / "nowhere").now()


def test_fixed_clock_is_utc():
    assert FixedClock(datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=1)))).now().hour == 11
