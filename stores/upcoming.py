"""Which entities will be asked for soon, and when: what is known ahead of its moment, by ``sql/upcoming.sql``.

The spine cannot tell: it has a row only once its outcome is known. Most problems know ahead what they will be asked: a
schedule is published, an instalment has a date, a parcel is on its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from core.windows import list_windows
from stores.raw import columns_of, history_from, register_raw
from stores.registry import open_store, problem_entity
from stores.sources import as_utc
from stores.sql import connect, moment, quote

if TYPE_CHECKING:
    from core.repo import FeatureRepo

EVENT = "event_timestamp"


@dataclass(frozen=True)
class Due:
    """One prediction that will be asked for.

    Attributes
    ----------
    entity : dict
        What a client would send: the join key, and whatever else the query gives. Times are ISO 8601.
    moment : datetime
        When, UTC.
    """

    entity: dict[str, Any]
    moment: datetime


class Upcoming:
    """Tells ahead what one repo will be asked.

    Parameters
    ----------
    repo : FeatureRepo
        Whose ``sql/upcoming.sql`` to ask.

    Raises
    ------
    ConfigError
        When the repo has no such file.
    """

    def __init__(self, repo: FeatureRepo) -> None:
        self._repo, self._query = repo, repo.upcoming
        self._key = problem_entity(repo, open_store(repo)).join_key

    def between(self, since: datetime, until: datetime) -> list[Due]:
        """Return what is due in ``[since, until)``, as far as it is known by now, each once, in order of time and key.

        The query sees the checked raw rows that became known before now and nothing later.

        Raises
        ------
        ConfigError
            When the query does not run, or gives no time or no join key.
        """
        with connect() as con:
            register_raw(
                con,
                self._repo,
                query=self._query,
                windows=list_windows(self._repo.layout.valid),
                history_from=history_from(con, self._query, since),
                known_before=self._repo.clock.now(),
            )
            hint = f"It must give {self._key} and {EVENT}, the moment of prediction."
            types = columns_of(con, self._query, (self._key, EVENT), hint)
            sent = [quote(name) for name in types if name != EVENT]
            when = as_utc(EVENT, types[EVENT])
            rows = con.sql(
                f"SELECT DISTINCT {', '.join(sent)}, {when} AS {EVENT} FROM ({self._query.text}) "
                f"WHERE {when} >= {moment(since)} AND {when} < {moment(until)} AND {quote(self._key)} IS NOT NULL "
                f"ORDER BY {EVENT}, {quote(self._key)}"
            ).to_arrow_table()
        return [Due({name: _plain(row[name]) for name in row if name != EVENT}, row[EVENT]) for row in rows.to_pylist()]


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it, times as the prediction log writes them."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return float(value) if isinstance(value, Decimal) else value
