-- lookback: loans 1 hour
SELECT loan_id, customer_id, amount, region, CAST(hour(known_at) AS BIGINT) AS hour,
       known_at AS event_timestamp
FROM loans
