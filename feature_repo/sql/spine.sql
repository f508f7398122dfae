-- One row a flight, asked for one hour before its scheduled departure: will it be 15 minutes late, or never arrive?
SELECT
    s.flight_id,
    s.carrier,
    s.flight_number,
    s.tailnum,
    s.origin,
    s.dest,
    s.sched_dep,
    s.sched_dep - INTERVAL 1 HOUR AS event_timestamp,
    CAST(o.outcome <> 'arrived' OR o.arr_delay >= 15 AS BIGINT) AS late,
    o.known_at AS label_timestamp
FROM schedule AS s
JOIN outcomes AS o USING (flight_id)
