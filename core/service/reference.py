"""The API reference as a page of its own: no script, no style from elsewhere, readable without the internet."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse

from core.service.access import PUBLIC, requires

# The one page of a service that is for people: its style is its own, and nothing else may be loaded.
PAGE_POLICY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: #f4f4f2; border-radius: 4px; }
code { padding: 0 .25rem; } pre { padding: .75rem; overflow-x: auto; } h2 { margin-top: 2.5rem; }
details { border: 1px solid #ddd; border-radius: 6px; padding: .5rem .75rem; margin: .5rem 0; }
summary { cursor: pointer; } summary b { display: inline-block; min-width: 4rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top; }
small { color: #595959; }
@media (prefers-color-scheme: dark) {
  body { background: #161616; color: #eee; } code, pre { background: #262626; } details { border-color: #444; }
  small { color: #aaa; } a { color: #8ab4f8; }
}
"""


def add_reference(app: FastAPI) -> None:
    """Add ``/docs``: every operation of the OpenAPI document, with what it needs, takes and answers."""

    @app.get("/docs", include_in_schema=False, openapi_extra=requires(PUBLIC), response_class=HTMLResponse)
    def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))


def page(document: dict[str, Any]) -> str:
    """Return an OpenAPI document as one HTML page."""
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = str((operation.get("tags") or ["other"])[0])
            groups.setdefault(tag, []).append(_operation(method.upper(), path, operation, document))
    info = document["info"]
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(parts)}" for tag, parts in groups.items())
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(info['title'])}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))}</p>"
        f"<p><small>Version {escape(info['version'])}; for programs: "
        "<a href='openapi.json'>openapi.json</a></small></p>"
        f"{body}</body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    scopes = ", ".join(operation.get("x-required-scopes", []))
    parts = [f"<p>{escape(operation.get('description', ''))}</p>", f"<p>Needs: <code>{escape(scopes)}</code></p>"]
    if parameters := operation.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td>"
            f"<td>{'needed' if p.get('required') else ''}</td><td>{escape(p.get('description', ''))}</td></tr>"
            for p in parameters
        )
        parts.append(f"<table>{rows}</table>")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body, <code>{escape(kind)}</code>:</p>")
        for shown in _bodies(content, document):
            parts.append(f"<pre>{escape(json.dumps(shown, indent=2, default=str))}</pre>")
    answers = "".join(
        f"<tr><td><code>{escape(status)}</code></td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in sorted(operation.get("responses", {}).items())
    )
    parts.append(f"<table>{answers}</table>")
    for status, answer in sorted(operation.get("responses", {}).items()):
        for kind, content in answer.get("content", {}).items():
            if "example" in content:
                shown = content["example"]
                text = shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False)
                parts.append(f"<p>{escape(status)}, <code>{escape(kind)}</code>:</p><pre>{escape(text)}</pre>")
    return (
        f"<details><summary><b>{escape(method)}</b> <code>{escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</summary>{''.join(parts)}</details>"
    )


def _bodies(content: dict[str, Any], document: dict[str, Any]) -> list[Any]:
    """Return the examples of a body, or what it looks like where there are none."""
    examples = [content["example"]] if "example" in content else []
    examples += [one["value"] for one in content.get("examples", {}).values()]
    return examples or [_resolved(content.get("schema", {}), document)]


def _resolved(schema: Any, document: dict[str, Any], depth: int = 0) -> Any:
    """Return a schema with its references filled in, as deep as one would read."""
    if depth > 6:
        return "…"
    if isinstance(schema, list):
        return [_resolved(item, document, depth + 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if reference := schema.get("$ref"):
        found: Any = document
        for part in str(reference).removeprefix("#/").split("/"):
            found = found[part]
        return _resolved(found, document, depth + 1)
    return {key: _resolved(value, document, depth + 1) for key, value in schema.items()}
