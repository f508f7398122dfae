"""What every service is made of: one app factory with access control, limits, health, metrics and problem details.

Routes do their work and raise the errors of :mod:`core.errors`; each names the scope that it asks for::

    app = create_app("punctual: data", name="data", ...)

    @app.get("/data/versions", openapi_extra=requires("data", "read"))
    async def versions() -> Response: ...

    return harden(app)
"""

from core.service.access import PUBLIC, principal, requires
from core.service.answers import Told, answer, file_answer, text_answer
from core.service.app import create_app
from core.service.harden import harden
from core.service.health import Check
from core.service.metrics import add_gauges, add_told, gauge
from core.service.problems import Problem, json_response, problem_response, problems

__all__ = [
    "PUBLIC",
    "Check",
    "Problem",
    "Told",
    "add_gauges",
    "add_told",
    "answer",
    "create_app",
    "file_answer",
    "gauge",
    "harden",
    "json_response",
    "principal",
    "problem_response",
    "problems",
    "requires",
    "text_answer",
]
