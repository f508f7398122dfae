"""Requests that are there together are answered together, each with its own answer or its own error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from serving.batching import Batcher


class Answers:
    """Doubles numbers, in turns that last until they are let go."""

    def __init__(self) -> None:
        self.turns: list[list[list[int]]] = []
        self.gate = asyncio.Event()

    async def __call__(self, calls: Sequence[list[int]]) -> list[int | Exception]:
        self.turns.append(list(calls))
        await self.gate.wait()
        return [ValueError("seven") if 7 in call else 2 * sum(call) for call in calls]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_what_is_there_together_is_answered_together() -> None:
    async def scenario() -> None:
        answers = Answers()
        answers.gate.set()
        batcher = Batcher(answers, most=10)
        assert await asyncio.gather(*(batcher([i]) for i in range(5))) == [0, 2, 4, 6, 8]
        assert answers.turns == [[[0], [1], [2], [3], [4]]]
        assert batcher.idle

    asyncio.run(scenario())


def test_while_turns_are_under_way_calls_wait_for_the_next() -> None:
    async def scenario() -> None:
        answers = Answers()
        batcher = Batcher(answers, most=10)
        calls = [asyncio.create_task(batcher([0]))]
        await settle()
        calls += [asyncio.create_task(batcher([i])) for i in (1, 2, 3)]
        await settle()
        assert answers.turns == [[[0]]]
        assert not batcher.idle
        answers.gate.set()
        assert await asyncio.gather(*calls) == [0, 2, 4, 6]
        assert answers.turns == [[[0]], [[1], [2], [3]]]

    asyncio.run(scenario())


def test_a_turn_has_a_size_and_a_larger_call_goes_alone() -> None:
    async def scenario() -> None:
        answers = Answers()
        answers.gate.set()
        batcher = Batcher(answers, most=3)
        calls = [[1], [1], [1, 1, 1, 1, 1], [1], [1, 1], [1]]
        assert await asyncio.gather(*(batcher(call) for call in calls)) == [2, 2, 10, 2, 4, 2]
        assert answers.turns == [[[1, 1, 1, 1, 1]], [[1], [1], [1]], [[1, 1], [1]]]

    asyncio.run(scenario())


def test_nobody_waits_for_a_large_call() -> None:
    async def scenario() -> None:
        answers = Answers()
        batcher = Batcher(answers, most=3)
        large = asyncio.create_task(batcher([1, 1, 1, 1]))
        await settle()
        assert not batcher.idle
        small = asyncio.create_task(batcher([1]))
        await settle()
        assert answers.turns == [[[1, 1, 1, 1]], [[1]]]
        answers.gate.set()
        assert await asyncio.gather(large, small) == [8, 2]
        assert batcher.idle
        with pytest.raises(ValueError, match="seven"):
            await batcher([7, 1, 1, 1])

    asyncio.run(scenario())


@pytest.mark.parametrize("busy", [2, 6])
def test_when_it_is_busy_a_turn_waits_for_as_many_as_the_last_had(busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.batching._LINGER_SECONDS", 3600)  # none of these is let go by the time

    async def scenario() -> None:
        answers = Answers()
        answers.gate.set()
        batcher = Batcher(answers, most=100)
        await asyncio.gather(*(batcher([i]) for i in range(busy)))
        later = [asyncio.create_task(batcher([i])) for i in range(busy - 1)]
        await settle()
        assert len(answers.turns) == 1  # one is missing
        later.append(asyncio.create_task(batcher([busy])))
        await asyncio.wait_for(asyncio.gather(*later), 10)
        assert [len(turn) for turn in answers.turns] == [busy, busy]

    asyncio.run(scenario())


def test_a_busy_turn_does_not_wait_for_long_and_a_lone_call_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        answers = Answers()
        answers.gate.set()
        batcher = Batcher(answers, most=100)
        await asyncio.gather(batcher([1]), batcher([2]))
        assert await asyncio.wait_for(batcher([1]), 10) == 2  # nobody else comes
        monkeypatch.setattr("serving.batching._LINGER_SECONDS", 3600)
        assert await asyncio.wait_for(batcher([3]), 10) == 6  # the last turn was of one
        assert [len(turn) for turn in answers.turns] == [2, 1, 1]

    asyncio.run(scenario())


def test_an_error_is_for_whom_it_concerns() -> None:
    async def scenario() -> None:
        answers = Answers()
        answers.gate.set()
        batcher = Batcher(answers, most=10)
        got = await asyncio.gather(batcher([1]), batcher([7]), batcher([2]), return_exceptions=True)
        assert got[0] == 2
        assert got[2] == 4
        assert isinstance(got[1], ValueError)

    asyncio.run(scenario())


def test_an_error_of_the_whole_turn_is_for_all() -> None:
    async def fail(calls: Sequence[list[int]]) -> list[int | Exception]:
        raise OSError("away")

    async def scenario() -> None:
        batcher = Batcher(fail, most=10)
        got = await asyncio.gather(batcher([1]), batcher([2]), return_exceptions=True)
        assert [str(error) for error in got] == ["away", "away"]
        with pytest.raises(OSError, match="away"):
            await batcher([3])
        await settle()
        assert batcher.idle

    asyncio.run(scenario())


def test_who_went_away_while_waiting_costs_nothing() -> None:
    async def scenario() -> None:
        answers = Answers()
        batcher = Batcher(answers, most=10)
        first = asyncio.create_task(batcher([0]))
        await settle()
        gone, stays = asyncio.create_task(batcher([1])), asyncio.create_task(batcher([2]))
        await settle()
        gone.cancel()
        answers.gate.set()
        assert await asyncio.gather(first, stays) == [0, 4]
        assert answers.turns == [[[0]], [[2]]]

    asyncio.run(scenario())
