-- What is known of one aircraft: its last leg, its month, and what the register says of it.
-- lookback: departures 30 days
-- lookback: outcomes 30 days
WITH events AS (
    SELECT tailnum, known_at AS moment, dep_delay, NULL AS arr_delay, 0 AS flights, 0 AS late
    FROM departures WHERE tailnum IS NOT NULL
    UNION ALL
    SELECT tailnum, known_at, NULL, arr_delay, 1, CAST(outcome <> 'arrived' OR arr_delay >= 15 AS INTEGER)
    FROM outcomes WHERE tailnum IS NOT NULL
),
instants AS (
    SELECT tailnum, moment, max(dep_delay) AS dep_delay, max(arr_delay) AS arr_delay,
           sum(flights) AS flights, sum(late) AS late
    FROM events GROUP BY tailnum, moment
)
SELECT
    i.tailnum,
    CAST(last_value(dep_delay IGNORE NULLS) OVER days_30 AS BIGINT) AS last_dep_delay,
    CAST(last_value(arr_delay IGNORE NULLS) OVER days_30 AS BIGINT) AS last_arr_delay,
    -- The leg it is on: left, and not heard of since.
    CAST(i.dep_delay IS NOT NULL AS BIGINT) AS airborne,
    CAST(sum(flights) OVER days_30 AS BIGINT) AS aircraft_flights_30d,
    CAST(sum(late) OVER days_30 AS BIGINT) / nullif(CAST(sum(flights) OVER days_30 AS BIGINT), 0)
        AS aircraft_late_share_30d,
    CAST(year(i.moment) - p.year AS BIGINT) AS age_years,
    CAST(p.seats AS BIGINT) AS seats,
    p.manufacturer AS maker,
    i.moment AS last_heard,
    i.moment AS event_timestamp
FROM instants AS i
LEFT JOIN planes AS p ON p.tailnum = i.tailnum
WINDOW days_30 AS (PARTITION BY i.tailnum ORDER BY i.moment RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW)
