"""`punctual doctor`: what is configured, what answers, what is stale."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import httpx
from rich.table import Table

from cli import context
from core.errors import CheckFailed, PunctualError, StoreUnavailable
from core.http import trust
from core.places import PORTS, Name, service_url
from core.progress import console
from core.repo import FeatureRepo
from core.windows import list_windows

Finding = tuple[str, str]  # ok, note or bad; and words


def doctor() -> None:
    """Look at everything and say what is wrong and what to do; exit code 3 when something is."""
    repo = context.repo()
    looks: dict[str, Callable[[FeatureRepo], Finding]] = {
        "feature repo": _repo,
        "raw data": _raw,
        "feature rows": _features,
        "registry": _registry,
        "online store": _online,
        "champion": _champion,
        "accounts": _accounts,
        "monitoring": _monitoring,
        **{f"{name} service": partial(_service, name) for name in PORTS},
    }
    table = Table("what", "state", "", show_header=False, box=None)
    bad = 0
    for name, look in looks.items():
        try:
            state, words = look(repo)
        except PunctualError as error:
            state, words = "bad", str(error)
        bad += state == "bad"
        colour = {"ok": "green", "note": "yellow", "bad": "red"}[state]
        table.add_row(name, f"[{colour}]{state}[/{colour}]", words)
    console.print(table)
    if bad:
        raise CheckFailed(f"{bad} of {len(looks)} need attention.")


def _repo(repo: FeatureRepo) -> Finding:
    views = len(repo.queries) - 1
    return "ok", f"{repo.layout.repo}: {repo.problem.name}, {views} views from SQL, {len(repo.schemas)} raw tables"


def _raw(repo: FeatureRepo) -> Finding:
    from stores.raw import data_version

    windows = list_windows(repo.layout.raw)
    if not windows:
        return "bad", "nothing fetched yet. Run: punctual fetch"
    unchecked = len(windows) - len(list_windows(repo.layout.valid))
    words = f"{len(windows)} windows, {windows[0].since:%Y-%m-%d} to {windows[-1].until:%Y-%m-%d}, "
    words += f"version {data_version(repo)}"
    return ("bad", f"{words}; {unchecked} not checked. Run: punctual validate") if unchecked else ("ok", words)


def _features(repo: FeatureRepo) -> Finding:
    from ingestion.transform import feature_targets

    windows = {w.id for w in list_windows(repo.layout.valid)}
    lacking = [
        name
        for name, target in feature_targets(repo).items()
        if windows - {p.stem for p in target.folder.glob("*.parquet")}
    ]
    if lacking:
        return "bad", f"{', '.join(lacking)} lack windows. Run: punctual transform"
    return "ok", f"{len(windows)} windows of every view"


def _registry(repo: FeatureRepo) -> Finding:
    from stores.registry import feature_service, open_store, registry_version

    feature_service(repo, open_store(repo))
    return "ok", f"version {registry_version(repo)}"


def _online(repo: FeatureRepo) -> Finding:
    from stores.examples import sample_keys
    from stores.reader import OnlineReader
    from stores.registry import feature_views, open_store

    store = open_store(repo)
    now = repo.clock.now()
    stale: list[str] = []
    views = [view for view in feature_views(store) if view.online]
    for view in views:
        keys = sample_keys(repo, store, view, 1)
        if not keys:
            stale.append(f"{view.name} has no rows")
            continue
        reader = OnlineReader(store, [f"{view.name}:{view.features[0].name}"])
        try:
            rows = reader.read_sync(keys, now)
        except StoreUnavailable as error:
            return "bad", f"{error} `punctual up` starts the embedded server."
        finally:
            reader.close()
        status = rows.views[view.name].status[0]
        if status != "present":
            stale.append(f"{view.name}: newest entity is {status}")
    if stale:
        return "bad", f"{'; '.join(stale)}. Run: punctual materialize"
    return "ok", f"{len(views)} views answer, and their newest rows are fresh"


def _champion(repo: FeatureRepo) -> Finding:
    from serving.model_store import load_champion

    model = load_champion(repo.layout)
    return "ok", f"version {model.version}, {model.metadata.get('candidate', 'model')}, {len(model.features)} inputs"


def _accounts(repo: FeatureRepo) -> Finding:
    accounts = context.accounts(context.settings(), repo)
    keys = [key for key in accounts.keys.all() if key["revoked_at"] is None]
    if not accounts.users.count():
        return "note", "nobody can log in yet. The first `punctual up` or `punctual serve` makes an administrator"
    return "ok", f"{accounts.users.count()} users, {len(keys)} keys"


def _monitoring(repo: FeatureRepo) -> Finding:
    from core.database import database
    from monitoring.alarms import Alarms
    from monitoring.watch import turns

    alarms = Alarms(database(repo, context.settings()), repo.problem.name).list("open")
    last = turns(repo.layout, 1)
    words = f"last turn up to {last[0]['until'][:16]}" if last else "no turn was taken yet. Run: punctual monitor run"
    if alarms:
        named = ", ".join(f"{alarm['kind']} of {alarm['subject']}" for alarm in alarms[:5])
        return "note", f"{len(alarms)} alarms are open: {named}; {words}"
    return ("ok", f"no alarm is open; {words}") if last else ("note", words)


def _service(name: Name, _: FeatureRepo) -> Finding:
    settings = context.settings()
    url = f"{service_url(settings, name)}/health"
    try:
        answer = httpx.get(url, timeout=5, verify=trust(settings.tls_cert))
    except httpx.TransportError:
        return "note", f"nothing answers at {url}. `punctual up` or `punctual serve {name}` starts it"
    if answer.status_code == httpx.codes.OK:
        return "ok", f"ready at {url}"
    return "bad", f"{url} answers {answer.status_code}: {answer.text[:200]}"
