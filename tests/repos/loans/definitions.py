"""Loans and the customers who took them: integer keys, a nullable view, and a request-time input."""

from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

loan = Entity(name="loan", join_keys=["loan_id"], value_type=ValueType.INT64)
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)


def source(view: str) -> FileSource:
    """Return the folder of feature rows that ``sql/<view>.sql`` fills."""
    return FileSource(
        name=view,
        path=f"data/features/{view}",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


loan_terms = FeatureView(
    name="loan_terms",
    entities=[loan],
    schema=[
        Field(name="customer_id", dtype=Int64),
        Field(name="amount", dtype=Float64),
        Field(name="region", dtype=String),
        Field(name="hour", dtype=Int64),
    ],
    source=source("loan_terms"),
    ttl=timedelta(0),
)

customer_payments = FeatureView(
    name="customer_payments",
    entities=[customer],
    schema=[
        Field(name="payments_30d", dtype=Int64),
        Field(name="missed_30d", dtype=Int64),
        Field(name="last_missed", dtype=Int64),
    ],
    source=source("customer_payments"),
    ttl=timedelta(days=45),
    tags={"freshness": "30d", "stale": "flag"},
)

application = RequestSource(name="application", schema=[Field(name="amount", dtype=Float64)])


@on_demand_feature_view(sources=[application], schema=[Field(name="amount_thousands", dtype=Float64)], mode="pandas")
def amount_scaled(inputs: pd.DataFrame) -> pd.DataFrame:
    """Scale the requested amount."""
    return pd.DataFrame({"amount_thousands": inputs["amount"] / 1000.0})


default_risk = FeatureService(
    name="default_risk",
    features=[loan_terms[["region", "hour"]], customer_payments, amount_scaled],
)
