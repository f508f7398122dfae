"""What a model learned from, to compare with: some rows, of versions that are there."""

from __future__ import annotations

import pyarrow as pa
import pytest

from core.model import HEADER
from core.reference import SCORE, Reference
from tests.asgi import problem
from tests.serving.world import World, key_for, service

pytestmark = pytest.mark.slow


def test_some_rows_a_list_a_feature(own_world: World) -> None:
    layout = own_world.repo.layout
    (version,) = [folder.parent.name for folder in layout.models.glob(f"*/{HEADER}")]
    profile = {"features": [{"name": "risk", "kind": "numeric"}, {"name": "purpose", "kind": "categorical"}]}
    rows = {"risk": [0.5, None, 2.0], "purpose": ["car", "house", None], SCORE: [0.1, 0.2, 0.3]}
    without = key_for(own_world.repo, "predict")
    with service(own_world.repo) as api:
        path = f"/models/{version}/learned-from"
        assert "older than references" in problem(api.get(path), 404)["detail"]
        Reference(profile, pa.table(rows)).save(layout.models / version)
        del rows[SCORE]
        assert api.get(path).json() == {"version": version, "rows": 3, "features": rows}
        two = {name: column[:2] for name, column in rows.items()}
        assert api.get(f"{path}?limit=2").json() == {"version": version, "rows": 2, "features": two}
        for wrong in ("999", "..", "%2e%2e%2fsecrets"):
            problem(api.get(f"/models/{wrong}/learned-from"), 404)
        problem(api.get(f"{path}?limit=0"), 422)
        api.show(without)
        problem(api.get(path), 403)
