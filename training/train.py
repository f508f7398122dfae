"""Training as one function: fit the candidates, choose on validation, judge on test, register, pass the gate."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from core.database import database
from core.errors import Conflict, ModelUnavailable
from core.files import read_json, write_json
from core.model import PredictionModel
from core.progress import progress
from core.settings import get_settings
from training import report as reports
from training.candidates import fit, make, refit
from training.data import Prepared, prepare
from training.dataset import read_dataset
from training.evaluate import best_threshold, better, calibrate, scores
from training.gate import Verdict, judge
from training.inputs import as_columns
from training.overrides import Overrides
from training.promotion import GATE, Promotions
from training.reference import reference_of
from training.registry import CHAMPION, JOB_TAG, REPORTS, Registry

if TYPE_CHECKING:
    from core.problem import Problem
    from core.repo import FeatureRepo
    from core.settings import Settings
    from training.params import TrainParams

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a training run gave.

    Attributes
    ----------
    version, candidate : str
        The registered version, and the candidate it is.
    metrics : dict
        Its metrics on the test rows.
    verdict : Verdict
        What the gate said.
    promoted : bool
        Whether it is the champion now.
    """

    version: str
    candidate: str
    metrics: dict[str, float]
    verdict: Verdict
    promoted: bool = False


@dataclass
class _Run:
    """What the steps of one training run share."""

    repo: FeatureRepo
    registry: Registry
    promotions: Promotions
    params: TrainParams
    candidates: list[str]
    tags: dict[str, str]
    data: Prepared
    folder: Path

    @property
    def problem(self) -> Problem:
        return self.repo.problem


def train(
    repo: FeatureRepo,
    params: TrainParams,
    *,
    promote: bool = True,
    overrides: Overrides | None = None,
    job: str | None = None,
    settings: Settings | None = None,
) -> Outcome:
    """Train on the snapshot, register the best candidate as challenger, and promote it if the gate says so.

    Everything is logged to MLflow: a run a candidate under one parent, with lineage tags. Metrics and plots of a run
    without overrides are also written to ``data/reports`` for DVC. Killed anywhere and run again, it starts anew; the
    champion stays the one it was until the new one is whole.

    Parameters
    ----------
    repo, params : FeatureRepo, TrainParams
        What to learn, and how.
    promote : bool
        Whether the gate may promote.
    overrides : Overrides, optional
        What this run does differently; it is recorded, and leaves DVC's reports alone.
    job : str, optional
        The job that asks. Asked again after a kill, what it had registered is taken up rather than made twice.
    settings : Settings, optional
        Where MLflow and the ledger are; by default this process's settings.

    Raises
    ------
    NoData
        When there is no training set, or too few rows in it.
    ConfigError
        When problem.yaml or params.yaml names a column, candidate or parameter that is not there.
    InvalidRequest
        When the overrides do not fit together.
    ServiceUnavailable, DatabaseUnavailable
        When MLflow or the ledger's database does not answer.
    """
    settings, overrides = settings or get_settings(), overrides or Overrides()
    params, candidates = overrides.apply(params, repo.problem.candidates)
    rows, manifest = read_dataset(repo)
    registry = Registry(repo, settings)
    promotions = Promotions(registry, database(repo, settings), settings.promotion_approvals)
    promotions.settle()
    tags = {
        "data_version": manifest["data_version"],
        "feature_service": manifest["feature_service"],
        "registry_version": manifest["registry_version"],
        "snapshot": manifest["sha256"],
        **overrides.tags(),
    }
    with (
        progress("Training", total=len(candidates) + 3) as advance,
        tempfile.TemporaryDirectory() as temporary,
    ):
        data = prepare(repo.problem, rows, manifest["spine_columns"], params, overrides.since, overrides.until)
        for name in candidates:
            make(name, data.features, params)  # a wrong name or parameter is told now, not after minutes of training
        advance(note="prepared")
        run = _Run(repo, registry, promotions, params, candidates, tags, data, Path(temporary))
        done = registry.done_by_job(job) if job else None
        if done:
            outcome = _take_up(run, *done, promote=promote)
        else:
            tags = tags | ({JOB_TAG: job} if job else {})
            outcome = _run(run, tags, manifest["raw_until"], advance, promote=promote)
        if overrides.plain:
            reports.publish(repo, run.folder)
        advance(note="done")
    return outcome


def _run(run: _Run, tags: dict[str, str], raw_until: str, advance: Any, *, promote: bool) -> Outcome:
    registry, data = run.registry, run.data
    with registry.start_run("train", tags) as parent:
        fitted = {}
        for name in run.candidates:
            advance(0, note=name)
            fitted[name] = _try_candidate(run, name, lambda note: advance(0, note=note))
            advance(note=name)
        name = _choose(run.problem, fitted)
        model, validation = fitted[name]
        if run.params.refit:
            advance(0, note=f"{name}, on train and validation rows")
            model = refit_candidate(model, name, data, run.params)
        model.metadata |= {
            **run.tags,
            "run_id": parent.info.run_id,
            "trained_until": raw_until,
            "test_from": data.parts.test_from.isoformat(),
        }
        report, test = reports.judge_on_test(run.problem, name, model, data, validation)
        reports.write_report(run.folder, report, data, test, model.threshold)
        settings = {f"{name}.{key}": value for key, value in getattr(run.params, name).items()}
        facts = {"candidate": name, "seed": run.params.seed, "refit": run.params.refit}
        registry.log({**facts, **settings}, report["test"])
        registry.log_folder(run.folder, REPORTS)
        advance(note="registering")
        reference = reference_of(model, data, run.params.seed)
        version = registry.register(model, _example(data, model), run.tags, reference)
        return _judged(run, version, model, report, promote=promote)


def _take_up(run: _Run, run_id: str, version: str, *, promote: bool) -> Outcome:
    """Finish what the same job had begun before it was killed: the model is there, the gate may not have spoken."""
    with tempfile.TemporaryDirectory() as fetched:
        shutil.copytree(run.registry.reports_of(run_id, Path(fetched)), run.folder, dirs_exist_ok=True)
    report = read_json(run.folder / reports.REPORT)
    with run.registry.resume_run(run_id):
        if run.registry.version_of(CHAMPION) != version:
            run.registry.challenge(version, run.tags)
        return _judged(run, version, run.registry.load(version), report, promote=promote)


def _judged(run: _Run, version: str, model: PredictionModel, report: dict[str, Any], *, promote: bool) -> Outcome:
    """Let the gate speak, unless it has, and promote what passes: unless the champion has changed in the meantime."""
    kept = run.folder / reports.GATE
    if kept.is_file():
        said = read_json(kept)
        verdict, against = Verdict(said["passed"], said["reasons"]), said["against"]
    else:
        verdict, against = _gate(run, model)
        _keep_verdict(run, {**verdict.as_dict(), "against": against})
    outcome = Outcome(version, report["candidate"], report["test"], verdict)
    if run.registry.version_of(CHAMPION) == version:
        outcome.promoted = True
    elif promote and verdict.passed:
        said = {**verdict.as_dict(), "against": against}
        try:
            row = run.promotions.propose(version, verdict.reasons, actor=GATE, expected=against)
        except Conflict as error:
            verdict.add(False, f"not promoted: {error.message}")
            _keep_verdict(run, said | {"not_promoted": verdict.reasons[-1]})
        else:
            outcome.promoted = row.status == "active"
            if not outcome.promoted:
                verdict.reasons.append("waits: a person must approve it")
                _keep_verdict(run, said | {"waits": True})
    return outcome


def _keep_verdict(run: _Run, said: dict[str, Any]) -> None:
    """Keep what the gate said, and why what it let pass is not champion, with the version's reports."""
    kept = run.folder / reports.GATE
    write_json(kept, said)
    run.registry.log_file(kept, REPORTS)


def fit_candidate(
    problem: Problem, name: str, data: Prepared, params: TrainParams, say: Say | None = None
) -> PredictionModel:
    """Fit one candidate on the train part and calibrate it on the validation part; ``say`` hears of each round."""
    train, validation = data.part(data.parts.train), data.part(data.parts.validation)
    estimator = fit(make(name, data.features, params), train, validation, say and (lambda note: say(f"{name}: {note}")))
    held, y = validation
    return PredictionModel(
        features=data.features,
        estimator=estimator,
        calibration=calibrate(estimator.predict_proba(held)[:, 1], y),
        threshold=best_threshold(problem.cost),
        classes=(problem.label.negative, problem.label.positive),
        metadata={"candidate": name},
    )


def refit_candidate(model: PredictionModel, name: str, data: Prepared, params: TrainParams) -> PredictionModel:
    """Return the model fitted anew to train and validation rows, so that it has seen the newest ones.

    Its calibration stays what it was: learned from probabilities of validation rows that the first fit had not seen.
    The second fit has seen them, and would look too sure of itself there.
    """
    estimator = refit(name, data.features, params, model.estimator, data.part(data.learned))
    return replace(model, estimator=estimator, metadata={**model.metadata, "refit": True})


def _try_candidate(run: _Run, name: str, say: Say) -> tuple[PredictionModel, dict[str, float]]:
    with run.registry.start_run(name, run.tags, nested=True):
        model = fit_candidate(run.problem, name, run.data, run.params, say)
        matrix, y = run.data.part(run.data.parts.validation)
        metrics = scores(y, model.score(matrix), model.threshold)
        logged = {f"validation_{k}": v for k, v in metrics.items()}
        run.registry.log({"candidate": name, **getattr(run.params, name)}, logged)
    return model, metrics


def _choose(problem: Problem, fitted: dict[str, tuple[PredictionModel, dict[str, float]]]) -> str:
    """Return the candidate that is best on validation by the gate's metric."""
    metric = problem.gate.metric
    return max(fitted, key=lambda name: better(metric, fitted[name][1][metric], 0.0))


def _example(data: Prepared, model: PredictionModel) -> Any:
    names = [f.name for f in model.features]
    frame = data.rows.select(names).take(pa.array(data.parts.test[:5])).to_pandas()
    # MLflow has no whole numbers that may be missing.
    return frame.astype({f.name: "float64" for f in model.features if f.kind == "numeric"})


def _gate(run: _Run, model: PredictionModel) -> tuple[Verdict, str | None]:
    """Judge the challenger against the champion, both scored on the same test rows; return which that was."""
    matrix, y = run.data.part(run.data.parts.test)
    against = run.registry.version_of(CHAMPION)
    old, why = _score_champion(run.registry, run.data, against)
    gate = run.problem.gate
    return judge(gate, y, model.score(matrix), old, model.threshold, run.params.seed, unopposed=why), against


def _score_champion(registry: Registry, data: Prepared, version: str | None) -> tuple[np.ndarray | None, str]:
    """Return the champion's probabilities for the test rows; or None, and why there are none."""
    if version is None:
        return None, "there is no champion to beat"
    try:
        champion = registry.load(version)
    except ModelUnavailable as error:
        return None, f"the champion, version {version}, cannot be compared with: {error.message}"
    names = [f.name for f in champion.features]
    if missing := [name for name in names if name not in data.rows.column_names]:
        return None, f"the champion, version {version}, needs {', '.join(missing)}, which the data no longer has"
    return champion.predict_proba(as_columns(data.rows.take(pa.array(data.parts.test)), names)), ""
