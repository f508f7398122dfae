"""Routes of accounts: log-in for people, and users, keys and the audit log for administrators."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response

from core.auth.accounts import Accounts
from core.auth.answers import (
    AuditRecords,
    Caller,
    KeyMade,
    KeyRevoked,
    KeyRotated,
    Keys,
    PasswordGiven,
    Session,
    SessionEnded,
    UserAdded,
    UserChanged,
    UserRemoved,
    Users,
)
from core.auth.documents import Change, LogIn, Moment, Name, NewKey, NewPassword, NewUser, Refresh, Rotation
from core.auth.oidc_routes import add_oidc_routes
from core.auth.principal import SELF
from core.auth.reset_routes import add_reset_routes
from core.auth.work import admitted, do
from core.errors import Forbidden
from core.service import PUBLIC, Told, answer, json_response, principal, problems, requires


def add_auth_routes(app: FastAPI) -> None:
    """Add the routes; the accounts are those that the service holds."""
    _add_log_in(app)
    add_reset_routes(app)
    add_oidc_routes(app)
    _add_users(app)
    _add_keys(app)


def _add_log_in(app: FastAPI) -> None:
    @app.post(
        "/auth/login",
        tags=["log-in"],
        summary="Get a session token",
        openapi_extra=requires(PUBLIC),
        responses=problems(Session, 401, 422, 429, 503),
    )
    async def log_in(request: Request, body: LogIn) -> Response:
        address = await admitted(request)

        return json_response(await do(request, lambda a: a.sessions.log_in(body.user, body.password, address)))

    @app.post(
        "/auth/refresh",
        tags=["log-in"],
        summary="Exchange a token for a new one",
        openapi_extra=requires(PUBLIC),
        responses=problems(Session, 401, 422, 429, 503),
    )
    async def refresh(request: Request, body: Refresh) -> Response:
        await admitted(request)
        return json_response(await do(request, lambda accounts: accounts.sessions.refresh(body.token)))

    @app.post(
        "/auth/logout",
        tags=["log-in"],
        summary="End the session",
        openapi_extra=requires(SELF),
        responses=problems(SessionEnded, 401, 403, 429, 503),
    )
    async def log_out(request: Request) -> Response:
        caller = principal(request)
        await do(request, lambda accounts: accounts.sessions.end(caller.id))
        return json_response({"ended": True})

    @app.get(
        "/auth/me",
        tags=["log-in"],
        summary="Who am I, and what may I do?",
        openapi_extra=requires(SELF, "predict", "read", "data", "train"),
        responses=problems(Caller, 401, 403, 429, 503),
    )
    async def me(request: Request) -> Response:
        caller = principal(request)
        return json_response({"name": caller.name, "kind": caller.kind, "scopes": sorted(caller.scopes)})

    @app.post(
        "/auth/password",
        tags=["log-in"],
        summary="Change one's own password: all sessions end, and a new one starts",
        openapi_extra=requires(SELF),
        responses=problems(Session, 401, 403, 422, 429, 503),
    )
    async def password(request: Request, body: NewPassword) -> Response:
        caller = principal(request)
        if caller.kind != "session":
            raise Forbidden("A key has no password.", hint="Rotate it instead.")
        address = await admitted(request)
        return json_response(
            await do(request, lambda a: a.sessions.change_password(caller.name, body.old, body.new, address))
        )


def _add_users(app: FastAPI) -> None:
    shared: dict[str, Any] = {"tags": ["users"], "openapi_extra": requires("admin")}

    @app.get("/users", summary="Every user", responses=_answers(Users), **shared)
    async def users(request: Request) -> Response:
        return json_response({"users": await do(request, lambda a: a.users.all(), changes=False)})

    @app.post(
        "/users",
        summary="Add a user; the password is shown once",
        status_code=201,
        responses=_answers(UserAdded, 201),
        **shared,
    )
    async def add(request: Request, body: NewUser) -> Response:
        by = principal(request).name
        chosen = await do(request, lambda a: a.users.add(body.name, body.role, by=by, email=body.email))
        return json_response({"name": body.name, "role": body.role, "password": chosen, "must_change": True}, 201)

    @app.patch(
        "/users/{name}",
        summary="Give a user another role or mail address, disable or enable them",
        responses=_answers(UserChanged),
        **shared,
    )
    async def change(request: Request, name: Name, body: Change) -> Response:
        caller = principal(request)

        def work(accounts: Accounts) -> None:
            if "role" in body.model_fields_set:
                accounts.users.set_role(name, body.role, by=caller.name)
            elif "email" in body.model_fields_set:
                accounts.users.set_email(name, body.email, by=caller.name)
            elif body.disabled:
                accounts.users.disable(name, by=caller.name, owner=caller.owner)
            else:
                accounts.users.enable(name, by=caller.name)

        await do(request, work)
        return json_response({"name": name, **body.model_dump(exclude_unset=True)})

    @app.delete("/users/{name}", summary="Remove a user", responses=_answers(UserRemoved), **shared)
    async def remove(request: Request, name: Name) -> Response:
        await do(request, lambda a: a.users.remove(name, by=principal(request).name))
        return json_response({"name": name, "removed": True})

    @app.post(
        "/users/{name}/reset",
        summary="Give a user a new password, shown once",
        responses=_answers(PasswordGiven),
        **shared,
    )
    async def reset(request: Request, name: Name) -> Response:
        chosen = await do(request, lambda a: a.users.reset(name, by=principal(request).name))
        return json_response({"name": name, "password": chosen, "must_change": True})

    @app.get(
        "/audit",
        summary="Who did what, newest first",
        responses=_answers(AuditRecords),
        **{**shared, "tags": ["audit"]},
    )
    async def audit(
        request: Request,
        since: Moment | None = None,
        until: Moment | None = None,
        actor: Annotated[str, Query(max_length=80)] | None = None,
        action: Annotated[str, Query(max_length=200)] | None = None,
        before: Annotated[int, Query(ge=1, le=2**31 - 1)] | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        def work(accounts: Accounts) -> list[dict[str, Any]]:
            return accounts.audit_log(since=since, until=until, actor=actor, action=action, before=before, limit=limit)

        return json_response({"records": await do(request, work, changes=False)})


def _add_keys(app: FastAPI) -> None:
    shared: dict[str, Any] = {"tags": ["keys"], "openapi_extra": requires("admin")}

    @app.get("/keys", summary="Every key, without its secret", responses=_answers(Keys), **shared)
    async def keys(request: Request) -> Response:
        return json_response({"keys": await do(request, lambda a: a.keys.all(), changes=False)})

    @app.post(
        "/keys",
        summary="Make a key; it is shown once",
        status_code=201,
        responses=_answers(KeyMade, 201),
        **shared,
    )
    async def create(request: Request, body: NewKey) -> Response:
        caller = principal(request)
        if lacking := [scope for scope in body.scopes if not caller.may(scope)]:
            raise Forbidden(f"{caller.name} cannot give away {', '.join(lacking)}.", hint="It has not got that itself.")

        def work(accounts: Accounts) -> tuple[str, dict[str, Any]]:
            lifetime = timedelta(days=body.days) if body.days else None
            return accounts.keys.create(
                body.name, body.scopes, owner=caller.owner, lifetime=lifetime, rate_limit=body.rate_limit
            )

        key, facts = await do(request, work)
        return json_response({"key": key, **facts}, 201)

    @app.post(
        "/keys/{key_id}/rotate",
        summary="Give a key a new secret; the old one stays good a while",
        responses=_answers(KeyRotated),
        **shared,
    )
    async def rotate(request: Request, key_id: Name, body: Rotation | None = None) -> Response:
        grace = timedelta(minutes=(body or Rotation()).grace_minutes)
        key = await do(request, lambda a: a.keys.rotate(key_id, by=principal(request).name, grace=grace))
        return json_response({"id": key_id, "key": key})

    @app.delete("/keys/{key_id}", summary="Revoke a key", responses=_answers(KeyRevoked), **shared)
    async def revoke(request: Request, key_id: Name) -> Response:
        await do(request, lambda a: a.keys.revoke(key_id, by=principal(request).name))
        return json_response({"id": key_id, "revoked": True})


def _answers(good: type[Told], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """Return what a route for administrators answers: where all goes well, and where not."""
    return {status: answer(good), **problems(None, 401, 403, 404, 409, 422, 429, 503)}
