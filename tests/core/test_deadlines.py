"""One timer for all that is under way ends what takes too long, and nothing else."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from core.service.deadlines import Deadlines


async def held(deadlines: Deadlines, seconds: float) -> str:
    with deadlines.begin():
        await asyncio.sleep(seconds)
    return "done"


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_takes_too_long_is_ended_and_the_rest_goes_on(run: object) -> None:
    deadlines = Deadlines(0.2)

    async def story() -> None:
        for _ in range(2):  # also after all has gone quiet
            waits = [0.0, 60.0, 0.01, 60.0, 0.05] * 20
            ended = await asyncio.gather(*(held(deadlines, seconds) for seconds in waits), return_exceptions=True)
            assert [isinstance(e, TimeoutError) for e in ended] == [wait == 60 for wait in waits]
            later = asyncio.create_task(held(deadlines, 60))
            await asyncio.sleep(0.1)
            assert not later.done()
            with pytest.raises(TimeoutError):
                await later

    for _ in range(2):  # also in another event loop
        run(story())  # type: ignore[operator]


def test_who_is_cancelled_by_somebody_else_is_cancelled() -> None:
    deadlines = Deadlines(0.05)

    async def story() -> None:
        task = asyncio.create_task(held(deadlines, 60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await held(deadlines, 0) == "done"
        await asyncio.sleep(0.1)  # the timer finds nothing that is under way
        assert await held(deadlines, 0) == "done"

    asyncio.run(story())


def test_an_error_of_its_own_stays_one_and_a_task_that_ended_in_time_is_not_touched() -> None:
    deadlines = Deadlines(0.05)

    async def story() -> None:
        with pytest.raises(KeyError), deadlines.begin():
            raise KeyError("own")
        with deadlines.begin():
            pass
        await asyncio.sleep(0.1)
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0

    asyncio.run(story())


def test_a_deadline_that_is_lifted_ends_nothing_and_one_that_is_renewed_begins_anew() -> None:
    deadlines = Deadlines(0.2)

    async def story() -> None:
        renewed = 0
        with pytest.raises(TimeoutError), deadlines.begin() as deadline:
            deadline.lift()
            other = asyncio.create_task(held(deadlines, 60))
            await asyncio.sleep(0.4)
            assert isinstance((await asyncio.gather(other, return_exceptions=True))[0], TimeoutError)
            while True:
                deadline.renew()
                renewed += 1
                await asyncio.sleep(0.12 if renewed < 3 else 60)
        assert renewed == 3

    asyncio.run(story())
