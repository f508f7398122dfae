"""The `punctual` command: the only place that knows every other package."""
