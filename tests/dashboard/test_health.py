"""How the services are, by real sockets that answer well, badly, or not at all."""

from __future__ import annotations

import pytest

from core.errors import ServiceUnavailable
from core.places import PORTS
from core.settings import Settings
from dashboard.health import Board
from tests.core.wire import Wire, hang_up, raw, says


def board(**urls: str) -> Board:
    nowhere = {f"{name}_url": "http://127.0.0.1:1" for name in PORTS}
    return Board(Settings(**nowhere | {f"{name}_url": url for name, url in urls.items()}))


def answer(**dependencies: dict[str, object]) -> dict[str, object]:
    return {"service": "t", "status": "ready", "live": True, "dependencies": dependencies}


def test_a_service_is_up_degraded_or_down_and_its_last_error_is_remembered():
    ill = answer(store={"status": "error", "detail": "Redis is away."}, model={"status": "ok"})
    well = answer(store={"status": "ok"})
    with Wire(says(ill, "503 No"), says(well)) as wire:
        looked = board(prediction=wire.url)
        assert looked["prediction"].state == "unknown"
        looked.check("prediction")  # what was not looked at yet is tried
        looked.look()
        found = looked["prediction"]
        assert (found.state, found.detail) == ("degraded", "store: Redis is away.")
        looked.check("prediction")
        looked.look()
        found = looked["prediction"]
        assert (found.state, found.detail, found.last_error) == ("up", "", "store: Redis is away.")
        assert found.last_error_at is not None
        assert looked["training"].state == "down"
        with pytest.raises(ServiceUnavailable, match="training service is down"):
            looked.check("training")
    looked.close()


@pytest.mark.parametrize("act", [hang_up, raw(b"\x16\x03\x01"), says("no health"), says({"dependencies": 3})])
def test_what_answers_strangely_is_down(act: object):
    with Wire(act) as wire:  # type: ignore[arg-type]
        looked = board(data=wire.url)
        looked.look()
    assert looked["data"].state == "down"
    assert looked["data"].detail
    looked.close()
