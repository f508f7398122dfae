-- The airport's last observation, and the worst of the last hours.
-- lookback: weather 1 day
SELECT
    origin,
    temp,
    dewp,
    humid,
    wind_dir,
    wind_speed,
    wind_gust,
    precip,
    pressure,
    visib,
    max(precip) OVER hours_6 AS precip_max_6h,
    min(visib) OVER hours_6 AS visib_min_6h,
    max(wind_speed) OVER hours_6 AS wind_max_6h,
    known_at AS event_timestamp
FROM weather
WINDOW hours_6 AS (PARTITION BY origin ORDER BY known_at RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW)
