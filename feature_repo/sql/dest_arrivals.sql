-- How flights from New York reach a destination right now.
-- lookback: outcomes 1 day
WITH instants AS (
    SELECT dest, known_at AS moment, count(*) AS flights, count(arr_delay) AS arrived, sum(arr_delay) AS delay,
           sum(CAST(outcome <> 'arrived' OR arr_delay >= 15 AS INTEGER)) AS late
    FROM outcomes GROUP BY dest, known_at
)
SELECT
    dest,
    CAST(sum(flights) OVER last_3h AS BIGINT) AS dest_flights_3h,
    CAST(sum(late) OVER last_3h AS BIGINT) / CAST(sum(flights) OVER last_3h AS BIGINT) AS dest_late_share_3h,
    CAST(sum(delay) OVER last_3h AS BIGINT) / nullif(CAST(sum(arrived) OVER last_3h AS BIGINT), 0) AS dest_arr_delay_3h,
    moment AS event_timestamp
FROM instants
WINDOW
    last_3h AS (PARTITION BY dest ORDER BY moment RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW)
