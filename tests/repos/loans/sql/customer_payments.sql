-- lookback: payments 30 days
SELECT DISTINCT
    customer_id,
    count(*) OVER recent AS payments_30d,
    CAST(sum(missed) OVER recent AS BIGINT) AS missed_30d,
    CAST(max(missed) OVER (PARTITION BY customer_id ORDER BY known_at RANGE BETWEEN CURRENT ROW AND CURRENT ROW)
         AS BIGINT) AS last_missed,
    known_at AS event_timestamp
FROM payments
WINDOW recent AS (
    PARTITION BY customer_id ORDER BY known_at RANGE BETWEEN INTERVAL 30 DAYS PRECEDING AND CURRENT ROW
)
