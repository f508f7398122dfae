"""Orders of a shop: every scalar type, keys read along a chain, several keys a view, and all freshness policies."""

from datetime import timedelta
from typing import Any

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

order = Entity(name="order", join_keys=["order_id"], value_type=ValueType.STRING)
shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)
product = Entity(name="product", join_keys=["product_code"], value_type=ValueType.STRING)


def view(name: str, entities: list[Entity], schema: dict[str, Any], **tags: str) -> FeatureView:
    """Return a view over ``data/features/<name>`` that carries its own keys in its schema, as Feast allows."""
    return FeatureView(
        name=name,
        entities=entities,
        schema=[Field(name=feature, dtype=dtype) for feature, dtype in schema.items()],
        source=FileSource(name=name, path=f"data/features/{name}", timestamp_field="event_timestamp"),
        ttl=timedelta(days=30),
        tags=tags,
    )


baskets = view(
    "baskets",
    [order],
    {
        "order_id": String,
        "shop_id": Int64,
        "product_code": String,
        "items": Int64,
        "ordered_at": UnixTimestamp,
        "gift": Bool,
    },
)
shops = view("shops", [shop], {"shop_id": Int64, "rating": Float32, "franchise": Bool, "staff": Int32})
stock = view(
    "stock",
    [shop, product],
    {"shop_id": Int64, "product_code": String, "on_shelf": Int64},
    freshness="6h",
    stale="missing",
)
queue = view("queue", [shop], {"shop_id": Int64, "waiting": Int64}, freshness="1h", stale="flag")
recalls = view("recalls", [product], {"product_code": String, "recalled": Bool}, freshness="2d", stale="refuse")

checkout = RequestSource(
    name="checkout",
    schema=[
        Field(name="items", dtype=Int64),
        Field(name="ordered_at", dtype=UnixTimestamp),
        Field(name="express", dtype=Bool),
        Field(name="discount", dtype=Float64),
        Field(name="channel", dtype=String),
    ],
)


@on_demand_feature_view(
    sources=[checkout],
    schema=[Field(name="order_hour", dtype=Int64), Field(name="weekend", dtype=Bool)],
    mode="pandas",
)
def calendar(inputs: pd.DataFrame) -> pd.DataFrame:
    """Say at what time of the week the order came in."""
    moment = pd.to_datetime(inputs["ordered_at"], utc=True)
    return pd.DataFrame({"order_hour": moment.dt.hour.astype("int64"), "weekend": moment.dt.dayofweek >= 5})


@on_demand_feature_view(
    sources=[checkout, stock],
    schema=[Field(name="share_of_shelf", dtype=Float64), Field(name="shop_window", dtype=String)],
    mode="python",
)
def shelf(inputs: dict[str, Any]) -> dict[str, Any]:
    """Compare the order with the shelf: inputs and outputs are lists."""
    pairs = list(zip(inputs["items"], inputs["on_shelf"], strict=True))
    return {
        "share_of_shelf": [None if not have or want is None else want / have for want, have in pairs],
        "shop_window": [
            f"{channel}-{'express' if express else 'slow'}"
            for channel, express in zip(inputs["channel"], inputs["express"], strict=True)
        ],
    }


@on_demand_feature_view(
    sources=[checkout], schema=[Field(name="full_price", dtype=Bool)], mode="python", singleton=True
)
def price(inputs: dict[str, Any]) -> dict[str, Any]:
    """Say whether nothing was taken off: one row at a time."""
    return {"full_price": not inputs["discount"]}


refund_risk = FeatureService(
    name="refund_risk",
    features=[
        baskets[["gift"]],
        shops,
        stock,
        queue,
        recalls,
        calendar,
        shelf,
        price,
    ],
)
