"""Opens the Feast repo, applies its definitions, and says which version of them is registered."""

from __future__ import annotations

import io
import linecache
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError
from core.files import digest_of, read_json, write_json
from core.settings import get_settings
from stores import typechecks

if TYPE_CHECKING:
    from feast import Entity, FeatureService, FeatureStore, FeatureView

    from core.repo import FeatureRepo


def open_store(repo: FeatureRepo) -> FeatureStore:
    """Open the repo with plain Feast.

    Raises
    ------
    ConfigError
        When ``feature_store.yaml`` is wrong, in one line.
    """
    get_settings()  # lets feature_store.yaml see PUNCTUAL_REDIS, and turns telemetry off before Feast is imported
    from feast import FeatureStore

    # Feast calls on-demand views experimental at every apply; our users chose them, and cannot act on it.
    warnings.filterwarnings("ignore", "On demand feature view is an experimental feature", RuntimeWarning)
    try:
        return FeatureStore(repo_path=str(repo.layout.repo))
    except Exception as error:
        raise ConfigError(
            f"Feast cannot open {repo.layout.repo}: {type(error).__name__}: {error}".replace("\n", " "),
            hint="Mend feature_store.yaml; docs/feature-repo.md shows one.",
        ) from error


def apply(repo: FeatureRepo) -> str:
    """Register the repo's definitions, as ``feast apply`` does, and write ``data/registry.json``.

    Returns
    -------
    str
        The version: a content hash of entities, views, services and sources, the same for the same definitions.

    Raises
    ------
    ConfigError
        When a definition is wrong, or problem.yaml names something that is not defined.
    """
    from feast.repo_operations import apply_total

    typechecks.check_definitions()
    store = open_store(repo)
    repo.layout.data.mkdir(parents=True, exist_ok=True)
    try:
        with _inside(repo.layout.repo), _quiet():
            apply_total(store.config, repo.layout.repo, skip_source_validation=True)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"Feast cannot apply {repo.layout.repo}: {type(error).__name__}: {error}".replace("\n", " "),
            hint="Mend the definitions; nothing else was changed.",
        ) from error
    store = open_store(repo)
    _check_problem(repo, store)
    content = describe(store)
    version = digest_of(repr(sorted_deep(content)))
    write_json(repo.layout.data / "registry.json", {"version": version, **content})
    return version


def registry_version(repo: FeatureRepo) -> str:
    """Return the version that was applied last.

    Raises
    ------
    ConfigError
        When nothing was applied yet.
    """
    path = repo.layout.data / "registry.json"
    if not path.is_file():
        raise ConfigError("The Feast definitions are not applied yet.", hint="Run: punctual apply")
    return str(read_json(path)["version"])


def feature_views(store: FeatureStore) -> list[FeatureView]:
    """Return the stored (not on-demand) feature views by name."""
    return sorted(store.list_feature_views(), key=lambda view: view.name)


def feature_service(repo: FeatureRepo, store: FeatureStore, name: str | None = None) -> FeatureService:
    """Return the feature service of that name; by default the one that problem.yaml names.

    Raises
    ------
    ConfigError
        When the registry has none of that name.
    """
    names = [s.name for s in store.list_feature_services()]
    wanted = name or repo.problem.feature_service
    if wanted not in names:
        raise ConfigError(
            f"There is no feature service {wanted!r}, the registry has {names or 'none'}.",
            hint="Name one that is defined, or run: punctual apply",
        )
    return store.get_feature_service(wanted)


def request_inputs(store: FeatureStore, service: FeatureService) -> dict[str, str]:
    """Return the request-time inputs of a service's on-demand views with the names of their Feast types."""
    wanted = {projection.name for projection in service.feature_view_projections}
    return {
        name: kind.name
        for view in store.list_on_demand_feature_views()
        if view.name in wanted
        for name, kind in view.get_request_data_schema().items()
    }


def problem_entity(repo: FeatureRepo, store: FeatureStore) -> Entity:
    """Return the entity that problem.yaml predicts by.

    Raises
    ------
    ConfigError
        When the registry has none of that name.
    """
    found = {entity.name: entity for entity in store.list_entities()}
    if repo.problem.entity not in found:
        raise ConfigError(
            f"problem.yaml predicts by the entity {repo.problem.entity!r}, the registry has {sorted(found) or 'none'}.",
            hint="Name one that is defined, or run: punctual apply",
        )
    return found[repo.problem.entity]


def describe(store: FeatureStore) -> dict[str, Any]:
    """Return what is registered as plain data: what a version is the hash of."""
    views = feature_views(store)
    return {
        "project": store.project,
        "entities": {e.name: {"join_key": e.join_key, "type": e.value_type.name} for e in store.list_entities()},
        "feature_views": {
            v.name: {
                "entities": list(v.entities),
                "features": {f.name: str(f.dtype) for f in v.features},
                "ttl_seconds": v.ttl.total_seconds() if v.ttl else None,
                "online": v.online,
                "tags": dict(v.tags),
                "source": v.batch_source.file_options.uri if hasattr(v.batch_source, "file_options") else "",
                "timestamp": v.batch_source.timestamp_field,
                "created": v.batch_source.created_timestamp_column,
            }
            for v in views
        },
        "on_demand_feature_views": {
            v.name: {
                "features": {f.name: str(f.dtype) for f in v.features},
                "inputs": {k: str(t) for k, t in v.get_request_data_schema().items()},
                "code": v.feature_transformation.udf_string,
            }
            for v in sorted(store.list_on_demand_feature_views(), key=lambda v: v.name)
        },
        "feature_services": {
            s.name: {p.name: [f.name for f in p.features] for p in s.feature_view_projections}
            for s in store.list_feature_services()
        },
    }


def sorted_deep(value: Any) -> Any:
    """Return nested dicts as sorted item lists: the same content in one order."""
    if isinstance(value, dict):
        return [(k, sorted_deep(v)) for k, v in sorted(value.items())]
    return value


def _check_problem(repo: FeatureRepo, store: FeatureStore) -> None:
    problem_entity(repo, store)
    feature_service(repo, store)


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Feast imports the repo's modules by name from the working folder; leave neither path nor modules behind."""
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    _forget_modules(folder)
    linecache.checkcache()  # Feast registers on-demand views by their source text: never that of an edited file
    try:
        yield
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        _forget_modules(folder)


def _forget_modules(folder: Path) -> None:
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or not file.startswith(str(folder)) or name.startswith("punctual_source_"):
            continue
        if Path(file).parent == folder:
            del sys.modules[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Feast prints what it applies; our own line says it."""
    logging.getLogger("feast").setLevel(logging.WARNING)
    with redirect_stdout(io.StringIO()):
        yield
