-- The record of one flight number: the same flight on earlier days.
-- lookback: outcomes 45 days
WITH instants AS (
    SELECT flight_number, known_at AS moment, count(*) AS flights, count(arr_delay) AS arrived, sum(arr_delay) AS delay,
           sum(CAST(outcome <> 'arrived' OR arr_delay >= 15 AS INTEGER)) AS late
    FROM outcomes GROUP BY flight_number, known_at
)
SELECT
    flight_number,
    CAST(sum(flights) OVER last_10d AS BIGINT) AS number_flights_10d,
    CAST(sum(late) OVER last_10d AS BIGINT) / CAST(sum(flights) OVER last_10d AS BIGINT) AS number_late_share_10d,
    CAST(sum(delay) OVER last_10d AS BIGINT) / nullif(CAST(sum(arrived) OVER last_10d AS BIGINT), 0) AS number_arr_delay_10d,
    CAST(sum(flights) OVER last_45d AS BIGINT) AS number_flights_45d,
    CAST(sum(late) OVER last_45d AS BIGINT) / CAST(sum(flights) OVER last_45d AS BIGINT) AS number_late_share_45d,
    CAST(sum(delay) OVER last_45d AS BIGINT) / nullif(CAST(sum(arrived) OVER last_45d AS BIGINT), 0) AS number_arr_delay_45d,
    moment AS event_timestamp
FROM instants
WINDOW
    last_10d AS (PARTITION BY flight_number ORDER BY moment RANGE BETWEEN INTERVAL 10 DAYS PRECEDING AND CURRENT ROW),
    last_45d AS (PARTITION BY flight_number ORDER BY moment RANGE BETWEEN INTERVAL 45 DAYS PRECEDING AND CURRENT ROW)
