"""The monitoring service: turns and drift tests as jobs, and what they found: reports, performance, alarms, decisions.

| route | |
|---|---|
| ``POST /monitoring/run`` | a turn over a window, as a job |
| ``POST /monitoring/drift`` | a drift test over a chosen window and version, as a job |
| ``GET /monitoring/drift``, ``GET /monitoring/drift/{report_id}`` | reports, newest first; one of them |
| ``GET /monitoring/drift/{report_id}/report.html``, ``.../report.json`` | a report to download |
| ``GET /monitoring/performance`` | by window, version and slice |
| ``GET /monitoring/freshness``, ``GET /monitoring/skew`` | ages of the views; what the last comparison found |
| ``GET /monitoring/alarms``, ``POST /monitoring/alarms/{alarm_id}/acknowledge`` | alarms |
| ``GET /monitoring/decisions`` | what the policy decided, and what came of it |
| ``GET /monitoring/turns`` | what each turn found, newest first |
"""
