"""Who may call the APIs of the gateway besides users: apps with their grants, and what custom authorizers decide."""

import re
from dataclasses import dataclass
from enum import StrEnum

from funclet.model.errors import ModelError

MAX_CACHE_AGE_S = 3600
MAX_USER_DATA_LENGTH = 2048
MAX_IDENTITIES = 10
MAX_VALIDATION_LENGTH = 128
MAX_REMARK_LENGTH = 255
MAX_REPETITIONS = 3
"""Unbounded repetitions in a validation: more could take a long time on a long value."""

_INVALID = "FSS.0400"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{2,63}")
_IDENTITY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SECRET = re.compile(r"[A-Za-z0-9_+/!@#$%=-]{8,180}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,199}")
_ATOM = r"(?:\\[dswDSW.^$|()\[\]{}*+?/\\-]|\[\^?(?:\\[dsw\]\\^-]|[^\]\\\[])+\]|[^\\\[\](){}|*+?^$])"
_REPEATED = r"(?:[*+]|\{[0-9]{1,3}(?:,[0-9]{1,3})?\}|\?)?"
# Without groups and alternatives, so that no value can make it try for ages.
_VALIDATION = re.compile(rf"\^?(?:{_ATOM}{_REPEATED})*\$?")
_UNBOUNDED = re.compile(r"(?<!\\)[*+]")


class AuthorizerKind(StrEnum):
    """When an authorizer is asked; wire values."""

    FRONTEND = "FRONTEND"
    """Before anything else."""
    BACKEND = "BACKEND"
    """Right before the function."""


class Location(StrEnum):
    """Where the value of an identity is in a request; wire values."""

    HEADER = "HEADER"
    QUERY = "QUERY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A value that a request must carry."""

    name: str
    location: Location
    validation: str = ""
    """Regular expression for the whole value; empty: any value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorizer:
    """A function that decides which requests pass."""

    authorizer_id: str
    project_id: str
    name: str
    kind: AuthorizerKind
    function_urn: str
    """With the qualifier of the version or alias that decides."""
    cache_age_s: int = 0
    """How long a decision holds for requests with the same identities; 0: for one request."""
    user_data: str = ""
    identities: tuple[Identity, ...] = ()
    sends_body: bool = False
    created_at: float
    updated_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A client of APIs with a key pair of its own."""

    app_id: str
    project_id: str
    name: str
    remark: str
    key: str
    sealed_secret: bytes
    created_at: float
    updated_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppCode:
    """A text that stands for an app, for clients that cannot sign."""

    code_id: str
    app_id: str
    sealed_code: bytes
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """That an app may call an API."""

    grant_id: str
    app_id: str
    api_id: str
    created_at: float


def app_context(app_id: str) -> str:
    """Return what the secret of an app is sealed for."""
    return f"app:{app_id}"


def code_context(code_id: str) -> str:
    """Return what an app code is sealed for."""
    return f"app-code:{code_id}"


def check_authorizer(authorizer: Authorizer) -> None:
    """Refuse what no authorizer can be.

    Raises:
        ModelError: FSS.0400.
    """
    _check_name(authorizer.name)
    if not 0 <= authorizer.cache_age_s <= MAX_CACHE_AGE_S:
        raise ModelError(_INVALID, f"ttl must be 0 to {MAX_CACHE_AGE_S} seconds.")
    if len(authorizer.user_data) > MAX_USER_DATA_LENGTH:
        raise ModelError(_INVALID, f"user_data is longer than {MAX_USER_DATA_LENGTH} characters.")
    if len(authorizer.identities) > MAX_IDENTITIES:
        raise ModelError(_INVALID, f"There are more than {MAX_IDENTITIES} identities.")
    for identity in authorizer.identities:
        _check_identity(identity)
    names = {(identity.location, identity.name.lower()) for identity in authorizer.identities}
    if len(names) < len(authorizer.identities):
        raise ModelError(_INVALID, "identities name a value twice.")


def check_app(name: str, remark: str, key: str, secret: str) -> None:
    """Refuse what no app can be; key and secret may be empty.

    Raises:
        ModelError: FSS.0400.
    """
    _check_name(name)
    if len(remark) > MAX_REMARK_LENGTH:
        raise ModelError(_INVALID, f"remark is longer than {MAX_REMARK_LENGTH} characters.")
    if key and not _KEY.fullmatch(key):
        raise ModelError(_INVALID, "app_key must be 8 to 200 letters, digits, '_' or '-', not first.")
    if secret:
        check_secret(secret, "app_secret")


def check_secret(secret: str, member: str) -> None:
    """Refuse a secret that is too short, too long, or has other characters than URLs and headers take.

    Raises:
        ModelError: FSS.0400.
    """
    if not _SECRET.fullmatch(secret):
        raise ModelError(_INVALID, f"{member} must be 8 to 180 letters, digits or characters of _+/!@#$%=-.")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ModelError(_INVALID, f"name '{name[:80]}' is invalid: 3 to 64 letters, digits or '_', first a letter.")


def _check_identity(identity: Identity) -> None:
    if not _IDENTITY_NAME.fullmatch(identity.name):
        raise ModelError(_INVALID, f"identities: name '{identity.name[:80]}' is invalid.")
    validation = identity.validation
    is_sound = len(validation) <= MAX_VALIDATION_LENGTH and _VALIDATION.fullmatch(validation) is not None
    if not is_sound or len(_UNBOUNDED.findall(validation)) > MAX_REPETITIONS:
        raise ModelError(
            _INVALID,
            f"identities: validation of '{identity.name}' must be a regular expression without groups and "
            f"alternatives, of at most {MAX_VALIDATION_LENGTH} characters and {MAX_REPETITIONS} unbounded repetitions.",
        )
    try:
        re.compile(validation)
    except re.error as error:
        message = f"identities: validation of '{identity.name}' is no regular expression: {error}."
        raise ModelError(_INVALID, message) from error
