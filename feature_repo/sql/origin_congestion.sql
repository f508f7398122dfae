-- How the airport runs: what left in the last hours, how late, and how many flights are overdue.
-- lookback: schedule 3 days
-- lookback: departures 2 days
-- lookback: outcomes 2 days
WITH events AS (
    SELECT origin, known_at AS moment, 1 AS departed, 0 AS cancelled, dep_delay AS delay,
           CAST(dep_delay >= 15 AS INTEGER) AS late, -1 AS overdue
    FROM departures
    UNION ALL
    SELECT origin, known_at, 0, 1, NULL, 0, -1 FROM outcomes WHERE outcome = 'cancelled'
    UNION ALL
    SELECT origin, sched_dep, 0, 0, NULL, 0, 1 FROM schedule
),
instants AS (
    SELECT origin, moment, sum(departed) AS departed, sum(cancelled) AS cancelled, sum(delay) AS delay,
           sum(late) AS late, sum(overdue) AS overdue
    FROM events GROUP BY origin, moment
)
SELECT
    origin,
    CAST(sum(departed) OVER hour_1 AS BIGINT) AS departures_1h,
    CAST(sum(departed) OVER hour_3 AS BIGINT) AS departures_3h,
    CAST(sum(delay) OVER hour_1 AS BIGINT) / nullif(CAST(sum(departed) OVER hour_1 AS BIGINT), 0) AS delay_1h,
    CAST(sum(delay) OVER hour_3 AS BIGINT) / nullif(CAST(sum(departed) OVER hour_3 AS BIGINT), 0) AS delay_3h,
    CAST(sum(late) OVER hour_3 AS BIGINT) / nullif(CAST(sum(departed) OVER hour_3 AS BIGINT), 0) AS late_share_3h,
    CAST(sum(cancelled) OVER hour_3 AS BIGINT) AS cancelled_3h,
    CAST(sum(overdue) OVER (
        PARTITION BY origin ORDER BY moment RANGE BETWEEN INTERVAL 12 HOURS PRECEDING AND CURRENT ROW
    ) AS BIGINT) AS overdue_flights,
    moment AS event_timestamp
FROM instants
WINDOW
    hour_1 AS (PARTITION BY origin ORDER BY moment RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
    hour_3 AS (PARTITION BY origin ORDER BY moment RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW)
