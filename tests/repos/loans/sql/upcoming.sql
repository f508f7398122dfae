-- Every loan is asked for a day before each of its instalments, which are due weekly after it was taken.
-- lookback: loans 29 days
SELECT loan_id, known_at + 7 * week * INTERVAL 1 DAY - INTERVAL 1 DAY AS event_timestamp
FROM loans, range(1, 5) AS weeks (week)
