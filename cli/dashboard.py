"""`punctual dashboard`: the pages, on services that run already."""

from __future__ import annotations

from cli import context


def dashboard() -> None:
    """Serve the dashboard at `PUNCTUAL_DASHBOARD_PORT` (8501); the services that it shows may be here or elsewhere.

    Log in with an account of the data service; the first start of `punctual up` makes `admin` and shows its password.
    """
    from dashboard.server import run

    run(context.settings())
