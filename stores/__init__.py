"""The two Feast stores made fast, offline and online, and the embedded server."""

from stores import typechecks

typechecks.defer()
