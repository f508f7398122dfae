"""All settings of punctual, in one list. Each is an environment variable with the prefix ``PUNCTUAL_``."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import ConfigError

# No library phones home: set before any of them is imported, and only where the user has not said otherwise.
_NO_PHONE_HOME = {
    "FEAST_USAGE": "False",
    "FEAST_TELEMETRY": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    # Nor do they talk over our own progress.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class Settings(BaseSettings):
    """The settings; docs/settings.md is checked against this class."""

    model_config = SettingsConfigDict(env_prefix="PUNCTUAL_", env_file=".env", extra="ignore")

    feature_repo: Path = Field(Path("feature_repo"), description="Folder of the feature repo to run.")
    redis: str = Field(
        "127.0.0.1:6380",
        description="Online store as a Feast connection string, host:port[,db=0,password=...]. "
        "On a loopback address where nothing listens yet, `punctual up` starts the embedded server there.",
    )
    mlflow_uri: str | None = Field(
        None,
        description="MLflow tracking and registry URI. Default: SQLite in the feature repo's data folder.",
    )
    host: str = Field("127.0.0.1", description="Address that the services listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port of the prediction service.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes of the prediction service.")
    max_batch: int = Field(1000, ge=1, le=100_000, description="Entities that one request may ask for.")
    max_body_bytes: int = Field(1_000_000, ge=1024, description="Largest request body accepted, in bytes.")
    log_queue: int = Field(
        20_000,
        ge=1,
        description="Predictions that may wait for the log's disk; beyond that requests get a 503.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe log level.")
    log_format: Literal["json", "text"] = Field("text", description="Log lines for machines or for people.")
    duckdb_memory: str = Field("2GB", description="Memory limit of each DuckDB query; beyond it, it spills to disk.")
    duckdb_threads: int = Field(2, ge=1, description="Threads of each DuckDB query.")


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the settings once a process, and let Feast and the libraries see what they need of them.

    Raises
    ------
    ConfigError
        Naming the variable, its value, and what is allowed.
    """
    for name, value in _NO_PHONE_HOME.items():
        os.environ.setdefault(name, value)
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "PUNCTUAL_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(
            f"{name}={first.get('input')!r} cannot be used: {first['msg']}.",
            hint="docs/settings.md lists all settings.",
        ) from error
    os.environ.setdefault("PUNCTUAL_REDIS", settings.redis)
    return settings
