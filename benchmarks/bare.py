"""A FastAPI app with a route that does nothing: what the framework and the server cost by themselves."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
@app.post("/predict")
async def nothing() -> dict[str, str]:
    """Answer."""
    return {"status": "ok"}
