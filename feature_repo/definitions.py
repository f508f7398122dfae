"""Entities, feature views and the feature service of the flights problem. Plain Feast.

Each view is filled by ``sql/<view>.sql``. Delays are minutes, late or cancelled by 15 minutes or more counts as
late, shares are 0 to 1, and every feature is stamped with the moment at which it became known.
"""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String, UnixTimestamp


def entity(name: str, join_key: str, description: str) -> Entity:
    """Return an entity keyed by text."""
    return Entity(name=name, join_keys=[join_key], value_type=ValueType.STRING, description=description)


flight = entity("flight", "flight_id", "One scheduled flight, as in 20131001-UA1545-EWR (date in New York).")
number = entity("number", "flight_number", "Carrier and flight number, as in UA1545: the same flight every day.")
carrier_key = entity("carrier", "carrier", "Two-letter airline code.")
aircraft_key = entity("aircraft", "tailnum", "Tail number.")
origin = entity("origin", "origin", "Departure airport: EWR, JFK or LGA.")
dest = entity("dest", "dest", "Destination airport.")


def view(
    name: str, entities: list[Entity], ttl: timedelta, features: dict[str, object], description: str, **tags: str
) -> FeatureView:
    """Return a feature view over the folder that ``sql/<name>.sql`` fills."""
    return FeatureView(
        name=name,
        entities=entities,
        ttl=ttl,
        schema=[Field(name=feature, dtype=dtype) for feature, dtype in features.items()],
        source=FileSource(
            name=name,
            path=f"data/features/{name}",
            timestamp_field="event_timestamp",
            created_timestamp_column="created_timestamp",
        ),
        description=description,
        tags=tags,
    )


def record(prefix: str, spans: list[str]) -> dict[str, object]:
    """Return the features of how flights of one kind arrived over several spans of time."""
    fields: dict[str, object] = {}
    for span in spans:
        fields[f"{prefix}_flights_{span}"] = Int64
        fields[f"{prefix}_late_share_{span}"] = Float64
        fields[f"{prefix}_arr_delay_{span}"] = Float64
    return fields


flight_schedule = view(
    "flight_schedule",
    [flight],
    timedelta(0),
    {
        "carrier": String,
        "flight_number": String,
        "tailnum": String,
        "origin": String,
        "dest": String,
        "sched_dep": UnixTimestamp,
        "distance": Int64,  # miles
        "scheduled_minutes": Int64,
        "origin_flights_1h": Int64,
        "minutes_since_planned": Int64,
    },
    "The plan of one flight, published a day ahead: its keys, its length, and how busy its hour is.",
)

aircraft = view(
    "aircraft",
    [aircraft_key],
    timedelta(days=60),
    {
        "last_dep_delay": Int64,
        "last_arr_delay": Int64,
        "airborne": Int64,
        "aircraft_flights_30d": Int64,
        "aircraft_late_share_30d": Float64,
        "age_years": Int64,
        "seats": Int64,
        "maker": String,
        "last_heard": UnixTimestamp,
    },
    "What is known of one aircraft: its last leg, its month, its age and size.",
    freshness="7d",
)

origin_congestion = view(
    "origin_congestion",
    [origin],
    timedelta(days=1),
    {
        "departures_1h": Int64,
        "departures_3h": Int64,
        "delay_1h": Float64,
        "delay_3h": Float64,
        "late_share_3h": Float64,
        "cancelled_3h": Int64,
        "overdue_flights": Int64,
    },
    "How the airport runs: what left in the last hours, how late, and how many flights are overdue.",
    freshness="8h",
)

carrier = view(
    "carrier",
    [carrier_key],
    timedelta(days=14),
    record("carrier", ["6h", "7d"]),
    "How a carrier's flights arrived, in the last hours and days.",
    freshness="2d",
)

carrier_origin = view(
    "carrier_origin",
    [carrier_key, origin],
    timedelta(days=3),
    {
        "carrier_origin_departures_3h": Int64,
        "carrier_origin_delay_3h": Float64,
        "carrier_origin_late_3h": Float64,
    },
    "How a carrier leaves one airport right now.",
    freshness="2d",
)

route = view(
    "route",
    [origin, dest],
    timedelta(days=45),
    record("route", ["3d", "30d"]),
    "How flights of a route arrived.",
    freshness="30d",
)

dest_arrivals = view(
    "dest_arrivals",
    [dest],
    timedelta(days=7),
    record("dest", ["3h"]),
    "How flights from New York reach a destination right now.",
    freshness="7d",
)

flight_number = view(
    "flight_number",
    [number],
    timedelta(days=60),
    record("number", ["10d", "45d"]),
    "The record of one flight number on earlier days.",
    freshness="30d",
)

weather = view(
    "weather",
    [origin],
    timedelta(days=1),
    {
        "temp": Float64,  # Fahrenheit
        "dewp": Float64,  # Fahrenheit
        "humid": Float64,  # per cent
        "wind_dir": Float64,  # degrees
        "wind_speed": Float64,  # miles per hour
        "wind_gust": Float64,  # miles per hour
        "precip": Float64,  # inches
        "pressure": Float64,  # millibars
        "visib": Float64,  # miles
        "precip_max_6h": Float64,
        "visib_min_6h": Float64,
        "wind_max_6h": Float64,
    },
    "The airport's last hourly observation, and the worst of the last six hours.",
    freshness="3h",
)

# The moment the client asks about; read from flight_schedule when the client does not send it.
departure = RequestSource(name="departure", schema=[Field(name="sched_dep", dtype=UnixTimestamp)])


@on_demand_feature_view(
    sources=[departure],
    schema=[
        Field(name="local_hour", dtype=Float64),
        Field(name="weekday", dtype=Int64),
        Field(name="days_to_holiday", dtype=Int64),
    ],
    mode="python",
)
def calendar(inputs):
    """Local time of day (hours), weekday (Monday is 0), and days to the nearest big travel day (-7 to 7)."""
    from datetime import UTC, date, datetime, timedelta
    from zoneinfo import ZoneInfo

    zone = ZoneInfo("America/New_York")

    def travel_days(year):
        thursday = 1 + (3 - date(year, 11, 1).weekday()) % 7
        thanksgiving = date(year, 11, thursday + 21)
        memorial = date(year, 5, 31) - timedelta(days=date(year, 5, 31).weekday())
        labor = date(year, 9, 1) + timedelta(days=-date(year, 9, 1).weekday() % 7)
        own = [date(year, 1, 1), memorial, date(year, 7, 4), labor, thanksgiving, date(year, 12, 25)]
        return [day.toordinal() for day in [*own, date(year + 1, 1, 1), date(year - 1, 12, 25)]]

    hours, weekdays, holidays, nearest = [], [], [], {}
    for value in inputs["sched_dep"]:
        if value is None or value != value:
            hours.append(None)
            weekdays.append(None)
            holidays.append(None)
            continue
        moment = value if isinstance(value, datetime) else datetime.fromtimestamp(int(value), UTC)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        local = moment.astimezone(zone)
        day = local.toordinal()
        if day not in nearest:  # many flights leave on one day
            distance = min((holiday - day for holiday in travel_days(local.year)), key=abs)
            nearest[day] = max(-7, min(7, distance))
        hours.append(local.hour + local.minute / 60)
        weekdays.append(local.weekday())
        holidays.append(nearest[day])
    return {"local_hour": hours, "weekday": weekdays, "days_to_holiday": holidays}


flight_delay = FeatureService(
    name="flight_delay",
    features=[
        flight_schedule[["distance", "scheduled_minutes", "origin_flights_1h", "minutes_since_planned"]],
        aircraft[
            [
                "last_dep_delay",
                "last_arr_delay",
                "airborne",
                "aircraft_flights_30d",
                "aircraft_late_share_30d",
                "age_years",
                "seats",
                "maker",
            ]
        ],
        origin_congestion,
        carrier,
        carrier_origin,
        route,
        dest_arrivals,
        flight_number,
        weather,
        calendar,
    ],
    description="All that is known of a flight one hour before its scheduled departure.",
)
