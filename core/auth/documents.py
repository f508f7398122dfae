"""What the routes of accounts take: bodies and parameters, checked before anything is done."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from core.auth import emails

Name = Annotated[str, Field(min_length=1, max_length=64)]
Password = Annotated[str, Field(min_length=1, max_length=1024)]
Scope = Literal["predict", "read", "data", "train", "admin"]
Role = Literal["admin", "user"]
Email = Annotated[str, Field(max_length=emails.LONGEST, pattern=emails.PATTERN, examples=["bo@example.org"])]


def _written(value: object) -> object:
    # Seconds since 1970 would be read as well, and a mistyped year is taken for them.
    if isinstance(value, str) and "-" not in value[1:]:
        raise ValueError("write a time as ISO 8601 with its zone")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]


def _number(value: object) -> object:
    # true would be read as 1 minute, and "60" as 60.
    if isinstance(value, bool | str):
        raise ValueError("write a whole number")
    return value


_WHOLE = BeforeValidator(_number)


class Body(BaseModel):
    """A body of these routes: nothing but what is asked for."""

    # What a client sent and we refuse may be a password: it is not repeated to anyone.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class LogIn(Body):
    """A user name and a password."""

    user: Annotated[Name, Field(examples=["ada"])]
    password: Annotated[Password, Field(examples=["a long and winding road"])]


class Refresh(Body):
    """The token to exchange."""

    token: Annotated[str, Field(min_length=1, max_length=4096)]


class NewPassword(Body):
    """One's own password, before and after."""

    old: Annotated[Password, Field(examples=["a long and winding road"])]
    new: Annotated[Password, Field(examples=["another long sentence"])]


class Identity(Body):
    """What an OIDC provider gave, and the nonce that it was asked with."""

    id_token: Annotated[str, Field(min_length=1, max_length=16384)]
    nonce: Annotated[str, Field(min_length=1, max_length=200)]


class Forgot(Body):
    """Who cannot log in: a user name or a mail address."""

    user: Annotated[str, Field(min_length=1, max_length=254, examples=["ada"])]


class ByLink(Body):
    """What a link holds behind its #, and the new password."""

    token: Annotated[str, Field(min_length=1, max_length=200)]
    password: Annotated[Password, Field(examples=["another long sentence"])]


class NewUser(Body):
    """A user to add; the password is made up and shown once."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._@-]{0,63}$", examples=["bo"])]
    role: Role = "user"
    email: Email | None = None


class Change(Body):
    """What to change of a user: one thing at a time, so that it happens whole or not at all."""

    model_config = ConfigDict(
        json_schema_extra={"minProperties": 1, "maxProperties": 1, "examples": [{"role": "user"}, {"disabled": True}]}
    )

    role: Role = "user"
    disabled: Annotated[bool, Field(strict=True)] = False
    email: Email | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"name one of {', '.join(type(self).model_fields)}")
        return self


class NewKey(Body):
    """A key to make; it is shown once."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9 .:@/'_-]{1,64}$", examples=["the app"])]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=5, examples=[["predict", "read"]])]
    days: Annotated[int, Field(ge=1, le=3650, examples=[90]), _WHOLE] | None = None
    rate_limit: (
        Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$", examples=["100/minute"])] | None
    ) = None


class Rotation(Body):
    """For how long the old secret of a key stays good."""

    grace_minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60, examples=[60]), _WHOLE] = 60
