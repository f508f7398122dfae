"""All settings of punctual, in one list. Each is an environment variable with the prefix ``PUNCTUAL_``."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import ConfigError
from core.layout import Layout
from core.redis import with_password

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
    database: str | None = Field(
        None,
        description="SQLAlchemy URL of accounts, audit log, promotion ledger and jobs: sqlite:///… or "
        "postgresql+psycopg://…. Default: SQLite in the feature repo's data folder.",
    )
    host: str = Field("127.0.0.1", description="Address that the services listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port of the prediction service.")
    data_port: int = Field(8001, ge=1, le=65535, description="Port of the data service.")
    training_port: int = Field(8002, ge=1, le=65535, description="Port of the training service.")
    monitoring_port: int = Field(8003, ge=1, le=65535, description="Port of the monitoring service.")
    prediction_url: str | None = Field(None, description="Where others find the prediction service. Default: here.")
    data_url: str | None = Field(None, description="Where others find the data service. Default: here.")
    training_url: str | None = Field(None, description="Where others find the training service. Default: here.")
    monitoring_url: str | None = Field(None, description="Where others find the monitoring service. Default: here.")
    dashboard_port: int = Field(8501, ge=1, le=65535, description="Port of the dashboard.")
    dashboard_url: str | None = Field(
        None, description="Where people find the dashboard: what links in mails begin with. Default: here."
    )
    workers: int = Field(1, ge=1, le=64, description="Worker processes of the prediction service.")
    api_key: SecretStr | None = Field(
        None,
        description="API key with which services and the command call services. Default: the key that this machine's "
        "first start put into the feature repo's data folder.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Secret that signs session tokens, at least 32 characters, the same for all services. Default: a "
        "random one, kept in the feature repo's data folder.",
    )
    session_minutes: int = Field(30, ge=1, le=1440, description="How long a session token is good for.")
    oidc_issuer: str | None = Field(None, description="OpenID Connect provider to log in with; its https:// address.")
    oidc_client_id: str | None = Field(None, description="What the provider calls us.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="What proves to the provider that we are. Only the dashboard needs it."
    )
    oidc_claim: str = Field(
        "email",
        description="Claim that names a user: email, by their verified mail address; any other, by their name.",
    )
    oidc_create: bool = Field(False, description="Whether who is not a user yet becomes one, with the role user.")
    reset_minutes: int = Field(60, ge=1, le=1440, description="How long a link for a new password is good for.")
    tls_cert: Path | None = Field(None, description="Certificate (PEM) to serve HTTPS with; needs PUNCTUAL_TLS_KEY.")
    tls_key: Path | None = Field(None, description="Private key (PEM) of PUNCTUAL_TLS_CERT.")
    trusted_hosts: list[str] = Field(
        ["localhost", "127.0.0.1", "[::1]"],
        description='Host names that requests may name, as JSON; ["*"] for any. PUNCTUAL_HOST is always among them.',
    )
    trusted_proxies: list[str] = Field(
        [], description="Addresses whose X-Forwarded-For and X-Forwarded-Proto are believed, as JSON."
    )
    cors_origins: list[str] = Field([], description="Origins whose browser pages may call the services, as JSON.")
    rate_limit_key: str = Field("120000/minute", description="Requests that one API key may make, over all workers.")
    rate_limit_address: str = Field(
        "120000/minute", description="Requests that one address may make, over all workers."
    )
    rate_limit_login: str = Field("10/minute", description="Log-in attempts that one address may make.")
    kept_rows: int = Field(
        20_000,
        ge=0,
        le=1_000_000,
        description="Rows of shared keys (an airport, an aircraft) that a worker keeps until the online store says "
        "that they changed. 0: each request reads all of its rows.",
    )
    request_timeout: float = Field(30.0, gt=0, description="Seconds within which an answer begins, or is a 504.")
    model_poll: float = Field(0.5, gt=0, description="Seconds between looks for a new champion, or new definitions.")
    shadow_share: float = Field(
        0.1, ge=0, le=1, description="Share of live requests that the challenger scores too, beside the response."
    )
    promotion_approvals: int = Field(
        1, ge=1, le=2, description="People who must agree before a version becomes champion through the API."
    )
    flow_schedule: str | None = Field(None, description="Cron expression (UTC) at which the whole flow runs.")
    flow_poll: float | None = Field(
        None, gt=0, description="Seconds between looks for new raw data that start the flow. Default: never."
    )
    monitor_schedule: str | None = Field(None, description="Cron expression (UTC) at which monitoring takes a turn.")
    keep_log_days: int | None = Field(
        None, ge=1, description="Days for which predictions stay in the log. Default: for ever."
    )
    keep_batch_days: int = Field(
        30, ge=1, description="Days for which files of entity ids and their predictions are kept."
    )
    keep_pages_days: int | None = Field(
        90, ge=1, description="Days for which drift reports keep their page; their figures stay."
    )
    notify_webhook: str | None = Field(
        None, description="URL that gets a JSON POST when a flow ends, an alarm is raised, or a model changes."
    )
    notify_format: Literal["json", "slack"] = Field(
        "json", description="What the webhook gets: all the facts, or the text that a Slack incoming webhook takes."
    )
    notify_secret: SecretStr | None = Field(
        None, description="Secret that signs the webhook's body: X-Punctual-Signature, HMAC-SHA256."
    )
    notify_smtp: SecretStr | None = Field(
        None, description="smtp://[user:password@]host:port (smtps:// for TLS) to mail the same from."
    )
    notify_from: str = Field("punctual@localhost", description="Sender of mails.")
    notify_to: list[str] = Field([], description="Recipients of mails, as JSON.")
    max_batch: int = Field(1000, ge=1, le=100_000, description="Entities that one request may ask for.")
    max_body_bytes: int = Field(1_000_000, ge=1024, description="Largest request body accepted, in bytes.")
    max_upload_bytes: int = Field(
        50_000_000, ge=1024, description="Largest file of entity ids that `/predict/batch` accepts, in bytes."
    )
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
    settings.redis = with_password(settings.redis, Layout(settings.feature_repo).store_secret)
    os.environ["PUNCTUAL_REDIS"] = settings.redis
    return settings
