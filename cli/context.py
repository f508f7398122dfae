"""What commands start from: the settings, the feature repo they name, and an online store that answers."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.errors import NoData, PortInUse
from core.files import close_to_others
from core.progress import console, progress
from core.redis import LOOPBACK, make_password, may_be_embedded, parse_address
from core.repo import FeatureRepo
from core.settings import Settings, get_settings

if TYPE_CHECKING:
    from core.answers import JobView
    from core.auth import Accounts
    from core.client import DataClient, MonitoringClient, TrainingClient


def settings() -> Settings:
    """Return this process's settings."""
    return get_settings()


def repo() -> FeatureRepo:
    """Open the configured feature repo, whose data everybody else stays out of."""
    found = FeatureRepo.load(get_settings().feature_repo)
    close_to_others(found.layout.data)
    return found


def accounts(settings: Settings, repo: FeatureRepo) -> Accounts:
    """Open the accounts."""
    from core.auth import Accounts
    from core.database import database

    return Accounts(database(repo, settings), settings, repo.layout)


def first_start(settings: Settings, repo: FeatureRepo) -> str | None:
    """Make the first administrator and this machine's keys where they are missing; return the password, if new."""
    from core.auth import first_start as make

    guard_store(repo)
    return make(accounts(settings, repo), repo.layout)


def actor() -> str:
    """Return who runs the command, as records call them."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"cli:{os.getuid()}"


def guard_store(repo: FeatureRepo) -> None:
    """Let the embedded server have a password, if that is what the settings may mean; all processes read it there."""
    if may_be_embedded(get_settings().redis):
        make_password(repo.layout.store_secret)
        get_settings.cache_clear()
        get_settings()


@contextmanager
def online_store(repo: FeatureRepo, *, own: bool = False) -> Iterator[str]:
    """Make sure that the online store answers while the block runs, and say where it is.

    A Redis that answers at the configured address is used as it is. On a loopback address where nothing
    listens, the embedded server is started, and stopped at the end.

    Parameters
    ----------
    repo : FeatureRepo
        Whose features it holds.
    own : bool
        Whether it must be this repo's own server: another may hold the features of the repo that this is a copy of.

    Raises
    ------
    PortInUse
        When something else listens there, or a Redis that is not this repo's own and ``own`` asks for that.
    StoreUnavailable
        When a remote address does not answer.
    """
    from stores.connection import online_config
    from stores.embedded import EmbeddedServer, ping
    from stores.registry import open_store

    guard_store(repo)
    address = parse_address(online_config(open_store(repo).config).connection_string)
    if address.host not in LOOPBACK:
        yield str(address)
        return
    password = address.options.get("password")
    server = EmbeddedServer(repo.layout.run, address.host, address.port, password=password)
    try:
        server.start()
    except PortInUse:
        if own or not ping(address.host, address.port, password):
            raise
        console.print(f"Using the Redis that already answers at {address}.")
    try:
        yield str(address)
    finally:
        server.stop()


def example_entity(repo: FeatureRepo) -> dict[str, Any]:
    """Return the keys of one entity that can be predicted right now: one that became known last.

    Raises
    ------
    NoData
        When no feature row of the problem's entity is known yet.
    """
    from stores.examples import recent_entities

    found = recent_entities(repo, 1)
    if not found:
        raise NoData("The online store knows no entity to predict for yet.", hint="Run: punctual materialize")
    return found[0]


def followed(client: DataClient | TrainingClient | MonitoringClient, job: JobView, title: str) -> JobView:
    """Wait for a job of a service and show how far it is; return it when it is done.

    Raises
    ------
    JobFailed
        When it failed or was cancelled.
    ServiceUnavailable
        When the service is away for more than a minute.
    """
    with progress(title, total=100) as advance:
        done = 0

        def show(seen: JobView) -> None:
            nonlocal done
            reached = int(seen.progress * 100)
            advance(max(0, reached - done), note=seen.step or seen.status)
            done = max(done, reached)

        return client.wait(job.id, each=show)
