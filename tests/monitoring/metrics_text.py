"""Reads what a service tells Prometheus."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.asgi import Api


class Metrics:
    """One answer of ``/metrics``.

    Parameters
    ----------
    text : str
        In Prometheus' text format.
    """

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    @classmethod
    def of(cls, api: Api) -> Metrics:
        """Ask a service that has been shown a key."""
        answer = api.get("/metrics")
        assert answer.status_code == 200, answer.text
        return cls(answer.text)

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}

    def labels(self, name: str) -> set[str]:
        """Return the label names of a metric's samples."""
        return {label for sample in self.samples if sample.name == name for label in sample.labels}

    def values(self, name: str, label: str) -> set[str]:
        """Return the values that a label of a metric takes."""
        return {sample.labels[label] for sample in self.samples if sample.name == name}

    def __call__(self, name: str, **labels: str) -> float:
        """Return the value of the samples of that name that have these labels, summed; 0 where there is none."""
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        return sum(found)
