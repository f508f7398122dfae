-- How a carrier leaves one airport right now.
-- lookback: departures 1 day
WITH instants AS (
    SELECT carrier, origin, known_at AS moment, count(*) AS departed, sum(dep_delay) AS delay,
           sum(CAST(dep_delay >= 15 AS INTEGER)) AS late, max(dep_delay) AS worst
    FROM departures GROUP BY carrier, origin, known_at
)
SELECT
    carrier,
    origin,
    CAST(sum(departed) OVER hour_3 AS BIGINT) AS carrier_origin_departures_3h,
    CAST(sum(delay) OVER hour_3 AS BIGINT) / CAST(sum(departed) OVER hour_3 AS BIGINT) AS carrier_origin_delay_3h,
    CAST(sum(late) OVER hour_3 AS BIGINT) / CAST(sum(departed) OVER hour_3 AS BIGINT) AS carrier_origin_late_3h,
    moment AS event_timestamp
FROM instants
WINDOW hour_3 AS (PARTITION BY carrier, origin ORDER BY moment RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW)
