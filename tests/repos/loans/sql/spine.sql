SELECT p.loan_id, l.customer_id, l.amount, p.due_at - INTERVAL 1 DAY AS event_timestamp,
       p.missed AS missed, p.known_at AS label_timestamp
FROM payments AS p JOIN loans AS l USING (loan_id)
