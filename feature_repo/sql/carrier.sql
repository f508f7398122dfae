-- How a carrier does, in hours and in days.
-- lookback: outcomes 7 days
WITH instants AS (
    SELECT carrier, known_at AS moment, count(*) AS flights, count(arr_delay) AS arrived, sum(arr_delay) AS delay,
           sum(CAST(outcome <> 'arrived' OR arr_delay >= 15 AS INTEGER)) AS late
    FROM outcomes GROUP BY carrier, known_at
)
SELECT
    carrier,
    CAST(sum(flights) OVER last_6h AS BIGINT) AS carrier_flights_6h,
    CAST(sum(late) OVER last_6h AS BIGINT) / CAST(sum(flights) OVER last_6h AS BIGINT) AS carrier_late_share_6h,
    CAST(sum(delay) OVER last_6h AS BIGINT) / nullif(CAST(sum(arrived) OVER last_6h AS BIGINT), 0) AS carrier_arr_delay_6h,
    CAST(sum(flights) OVER last_7d AS BIGINT) AS carrier_flights_7d,
    CAST(sum(late) OVER last_7d AS BIGINT) / CAST(sum(flights) OVER last_7d AS BIGINT) AS carrier_late_share_7d,
    CAST(sum(delay) OVER last_7d AS BIGINT) / nullif(CAST(sum(arrived) OVER last_7d AS BIGINT), 0) AS carrier_arr_delay_7d,
    moment AS event_timestamp
FROM instants
WINDOW
    last_6h AS (PARTITION BY carrier ORDER BY moment RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW),
    last_7d AS (PARTITION BY carrier ORDER BY moment RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW)
