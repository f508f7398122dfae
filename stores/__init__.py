"""The two Feast stores made fast, offline and online, and the embedded server."""
