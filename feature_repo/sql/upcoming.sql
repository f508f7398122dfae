-- Every flight is asked for an hour before it is due to leave; its plan is published a day ahead.
-- lookback: schedule 2 days
SELECT flight_id, sched_dep - INTERVAL 1 HOUR AS event_timestamp
FROM schedule
