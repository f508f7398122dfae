-- The plan of one flight: its keys, and how busy its hour at the airport is.
-- lookback: schedule 2 days
SELECT
    flight_id,
    carrier,
    flight_number,
    tailnum,
    origin,
    dest,
    sched_dep,
    distance,
    CAST(date_diff('minute', sched_dep, sched_arr) AS BIGINT) AS scheduled_minutes,
    -- Flights planned earlier were published earlier, so the hour before is known; the hour after is not.
    count(*) OVER (
        PARTITION BY origin ORDER BY sched_dep RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW
    ) AS origin_flights_1h,
    -- The turnaround: minutes since the aircraft's previous planned departure from New York, within a day.
    -- Under 3 hours no plan would have it: the aircraft was swapped on the day, mostly because of a delay, and the
    -- archive tells it afterwards (79 % of those flights were late). A whole day is how source.py puts plans back.
    CASE WHEN sched_dep - previous BETWEEN INTERVAL 3 HOURS AND INTERVAL 23 HOURS
         THEN CAST(date_diff('minute', previous, sched_dep) AS BIGINT) END AS minutes_since_planned,
    known_at AS event_timestamp
FROM (
    SELECT *, lag(sched_dep) OVER (PARTITION BY tailnum ORDER BY sched_dep, flight_id) AS previous
    FROM schedule
)
