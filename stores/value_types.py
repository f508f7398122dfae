"""Feast's value types, for all who know features by type alone. Feast is imported by the stores, and in their way."""

from __future__ import annotations

from feast.type_map import feast_value_type_to_pa as arrow_type
from feast.value_type import ValueType

__all__ = ["ValueType", "arrow_type"]
