"""What every command starts from: the settings and the feature repo they name."""

from __future__ import annotations

from core.repo import FeatureRepo
from core.settings import Settings, get_settings


def settings() -> Settings:
    """Return this process's settings."""
    return get_settings()


def repo() -> FeatureRepo:
    """Open the configured feature repo."""
    return FeatureRepo.load(get_settings().feature_repo)
