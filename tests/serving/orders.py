"""The orders repo with feature rows written by hand: as old, as late, and as incomplete as a test wants them."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier

from core.clock import SystemClock
from core.files import write_json
from core.model import Feature, PredictionModel
from core.repo import FeatureRepo
from stores.registry import apply, open_store
from stores.writer import materialize
from tests.serving.world import point_at

ORDERS = Path(__file__).resolve().parents[1] / "repos" / "orders"
NOW = SystemClock().now().replace(microsecond=0)
ORDERED_AT = datetime.fromisoformat("2024-06-01T18:30:00+00:00")  # a Saturday
SCHEMAS: dict[str, dict[str, pa.DataType]] = {
    "baskets": {
        "order_id": pa.string(),
        "shop_id": pa.int64(),
        "product_code": pa.string(),
        "items": pa.int64(),
        "ordered_at": pa.timestamp("us", tz="UTC"),
        "gift": pa.bool_(),
    },
    "shops": {"shop_id": pa.int64(), "rating": pa.float32(), "franchise": pa.bool_(), "staff": pa.int32()},
    "stock": {"shop_id": pa.int64(), "product_code": pa.string(), "on_shelf": pa.int64()},
    "queue": {"shop_id": pa.int64(), "waiting": pa.int64()},
    "recalls": {"product_code": pa.string(), "recalled": pa.bool_()},
}
INPUTS = [
    Feature("gift", "numeric"),
    Feature("rating", "numeric"),
    Feature("franchise", "numeric"),
    Feature("staff", "numeric"),
    Feature("on_shelf", "numeric"),
    Feature("waiting", "numeric"),
    Feature("recalled", "numeric"),
    Feature("order_hour", "numeric"),
    Feature("weekend", "numeric"),
    Feature("share_of_shelf", "numeric"),
    Feature("shop_window", "categorical", ("web-express", "web-slow")),
    Feature("full_price", "numeric"),
]
CHECKOUT: dict[str, Any] = {"express": False, "discount": 0.0, "channel": "web"}


def ago(**age: float) -> datetime:
    """Return a moment before now."""
    return NOW - timedelta(**age)


def build(folder: Path, address: str, project: str = "orders") -> FeatureRepo:
    """Copy the repo, apply it, write a first set of rows online, and give it a model."""
    shutil.copytree(ORDERS, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    point_at(folder, "${PUNCTUAL_REDIS}", address)
    point_at(folder, "project: orders", f"project: {project}")
    repo = FeatureRepo.load(folder)
    apply(repo)
    basket = {"shop_id": 7, "product_code": "P-1", "items": 2, "ordered_at": ORDERED_AT, "gift": True}
    put(
        repo,
        baskets=[
            ({"order_id": "A"} | basket, ago(hours=2)),
            ({"order_id": "B"} | basket | {"shop_id": 8, "product_code": "P-2", "items": 5}, ago(hours=3)),
            ({"order_id": "no-shop"} | basket | {"shop_id": None}, ago(hours=2)),
            ({"order_id": "new-shop"} | basket | {"shop_id": 99}, ago(hours=2)),
        ],
        shops=[
            ({"shop_id": 7, "rating": 4.5, "franchise": True, "staff": 12}, ago(days=3)),
            ({"shop_id": 8, "rating": None, "franchise": False, "staff": -3}, ago(days=4)),
        ],
        stock=[
            ({"shop_id": 7, "product_code": "P-1", "on_shelf": 8}, ago(hours=1)),
            ({"shop_id": 8, "product_code": "P-2", "on_shelf": 10}, ago(hours=1)),
        ],
        queue=[({"shop_id": 7, "waiting": 3}, ago(minutes=10)), ({"shop_id": 8, "waiting": 0}, ago(minutes=5))],
        recalls=[
            ({"product_code": "P-1", "recalled": False}, ago(hours=5)),
            ({"product_code": "P-2", "recalled": True}, ago(hours=5)),
        ],
    )
    fit(repo, INPUTS)
    return repo


def put(repo: FeatureRepo, **views: list[tuple[dict[str, Any], datetime]]) -> None:
    """Write rows ``(values, event time)`` of some views as feature files, and these into the online store."""
    for view, rows in views.items():
        path = repo.layout.data / "features" / view
        path.mkdir(parents=True, exist_ok=True)
        columns = {n: pa.array([values[n] for values, _ in rows], kind) for n, kind in SCHEMAS[view].items()}
        columns["event_timestamp"] = pa.array([moment for _, moment in rows], pa.timestamp("us", tz="UTC"))
        pq.write_table(pa.table(columns), path / f"{len(list(path.glob('*.parquet'))):04}.parquet")
    materialize(open_store(repo), list(views), now=NOW)


def fit(repo: FeatureRepo, inputs: list[Feature]) -> None:
    """Fit a model of these inputs on made-up numbers, and make it the champion."""
    rng = np.random.default_rng(3)
    matrix = rng.integers(0, 10, (400, len(inputs))).astype(float)
    label = (matrix[:, 8] + rng.normal(size=400) > 5).astype(int)
    estimator = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(matrix, label)
    lineage = {"version": "5", "feature_service": repo.problem.feature_service}
    straight = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    PredictionModel(inputs, estimator, straight, 0.5, ("kept", "refunded"), lineage).save(repo.layout.models / "5")
    write_json(repo.layout.models / "champion.json", {"name": "orders", "version": "5"})
