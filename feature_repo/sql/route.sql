-- How flights of a route arrived of late; a flight that never arrives counts as late.
-- lookback: outcomes 30 days
WITH instants AS (
    SELECT origin, dest, known_at AS moment, count(*) AS flights, count(arr_delay) AS arrived, sum(arr_delay) AS delay,
           sum(CAST(outcome <> 'arrived' OR arr_delay >= 15 AS INTEGER)) AS late
    FROM outcomes GROUP BY origin, dest, known_at
)
SELECT
    origin, dest,
    CAST(sum(flights) OVER last_3d AS BIGINT) AS route_flights_3d,
    CAST(sum(late) OVER last_3d AS BIGINT) / CAST(sum(flights) OVER last_3d AS BIGINT) AS route_late_share_3d,
    CAST(sum(delay) OVER last_3d AS BIGINT) / nullif(CAST(sum(arrived) OVER last_3d AS BIGINT), 0) AS route_arr_delay_3d,
    CAST(sum(flights) OVER last_30d AS BIGINT) AS route_flights_30d,
    CAST(sum(late) OVER last_30d AS BIGINT) / CAST(sum(flights) OVER last_30d AS BIGINT) AS route_late_share_30d,
    CAST(sum(delay) OVER last_30d AS BIGINT) / nullif(CAST(sum(arrived) OVER last_30d AS BIGINT), 0) AS route_arr_delay_30d,
    moment AS event_timestamp
FROM instants
WINDOW
    last_3d AS (PARTITION BY origin, dest ORDER BY moment RANGE BETWEEN INTERVAL 3 DAYS PRECEDING AND CURRENT ROW),
    last_30d AS (PARTITION BY origin, dest ORDER BY moment RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW)
