"""The pipeline is defined once: the list that runs without DVC is dvc.yaml's."""

from __future__ import annotations

from pathlib import Path

import yaml

from cli.pipeline import STAGES

ROOT = Path(__file__).resolve().parents[2]


def test_the_stages_are_those_of_dvc_in_order():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    commands = [stage["cmd"].replace("${punctual} ", "").split() for stage in stages.values()]
    assert commands == [list(stage) for stage in STAGES]


def test_every_input_of_a_stage_is_made_by_an_earlier_one_or_is_there():
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    made: set[str] = set()
    for stage in content["stages"].values():
        for path in stage.get("deps", []):
            assert path in made or (ROOT / path).exists(), path
        for out in [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]:
            made.add(out if isinstance(out, str) else next(iter(out)))
