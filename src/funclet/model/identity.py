"""Who may call: projects, users and their credentials, groups, agencies."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from funclet.model.errors import ModelError
from funclet.model.policy import NOTHING, Grants

MIN_PASSWORD_LENGTH, MAX_PASSWORD_LENGTH = 8, 1024
MIN_PASSWORD_KINDS = 2
"""Of small letters, capitals, digits and others."""
MAX_AGENCY_DAYS = 36_500
MAX_USERS, MAX_GROUPS, MAX_POLICIES, MAX_AGENCIES = 1000, 100, 200, 100
MAX_KEYS = 2
"""Permanent access keys of one user."""
MAX_GRANTS = 100
"""Of one group or agency."""
MAX_DESCRIPTION_LENGTH = 255
FUNCTION_SERVICE = "op_svc_cff"
"""What an agency trusts whose keys functions are to have."""
DAY_S = 24 * 3600.0

_USER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.@ -]{0,63}")
_ENTRY_NAME = re.compile(r"[^\x00-\x1f/:*]{1,128}")
_AGENCY_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DAYS = re.compile(r"\d{1,5}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,128}@[^@\s]{1,127}")


class ProjectState(StrEnum):
    """What the operator allows in a project; the names of the cloud, where it has one."""

    NORMAL = "normal"
    READONLY = "readonly"
    """Functions run, nothing can be changed."""
    SUSPENDED = "suspended"
    """Nothing but reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The tenant boundary. Its name is the region's, as in the cloud."""

    project_id: str
    name: str
    domain_id: str
    domain_name: str
    state: ProjectState = ProjectState.NORMAL
    state_reason: str = ""
    """What the operator has said about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who can log in."""

    user_id: str
    name: str
    domain_id: str
    password_hash: str = field(repr=False)
    """As `services.passwords` makes it; never shown. Empty: no password opens the account."""
    is_owner: bool = False
    """Whether everything is allowed, whatever the groups say."""
    is_enabled: bool = True
    """Otherwise no credentials of the user are taken."""
    description: str = ""
    email: str = ""
    created_at: float = 0.0
    last_login_at: float | None = None
    issuer: str = ""
    """The OIDC issuer that vouches for the user; empty for those with a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key pair that signs requests."""

    access: str
    secret: str = field(repr=False)
    """In the store sealed, but for those of older servers until the next start."""
    user_id: str
    project_id: str
    security_token: str = field(default="", repr=False)
    """Set for temporary keys: requests must carry it."""
    expires_at: float | None = None
    """Seconds since the epoch; None for a permanent key."""
    is_active: bool = True
    created_at: float = 0.0
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A login. Only the digest of its text is kept."""

    digest: str
    user_id: str
    project_id: str
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Users who may do the same."""

    group_id: str
    name: str
    domain_id: str
    description: str = ""
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomPolicy:
    """A policy that somebody wrote; `policy.parse` reads its document."""

    policy_id: str
    name: str
    domain_id: str
    document: Mapping[str, Any]
    description: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """Permissions that somebody else may use: the functions that name it, or users of another domain."""

    agency_id: str
    name: str
    domain_id: str
    trust_domain_name: str
    """`op_svc_cff` for functions."""
    description: str = ""
    duration: str = "FOREVER"
    created_at: float = 0.0
    expires_at: float | None = None
    """Seconds since the epoch; None: never."""

    @property
    def trusts_functions(self) -> bool:
        """Whether functions may have its keys."""
        return self.trust_domain_name == FUNCTION_SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller of one request, after its credentials were checked."""

    project: Project
    user: User
    """For an agency one with its id and name."""
    grants: Grants = field(default=NOTHING, compare=False)
    is_temporary: bool = False
    """Whether it acts with what ends by itself and must not make anything that lasts: an agency, a temporary key."""


def check_user_name(name: str) -> None:
    """Refuse a name outside the rule.

    Raises:
        ModelError: FSS.0400.
    """
    if not _USER_NAME.fullmatch(name):
        raise ModelError(
            "FSS.0400",
            f"name '{name[:80]}' is invalid: 1 to 64 letters, digits, '_', '.', '@', '-' or spaces, first a letter.",
        )


def check_entry_name(name: str) -> None:
    """Refuse a name of a group or policy outside the rule.

    Raises:
        ModelError: FSS.0400.
    """
    if not _ENTRY_NAME.fullmatch(name) or name != name.strip():
        raise ModelError("FSS.0400", f"name '{name[:80]}' is invalid: 1 to 128 characters, none of '/', ':' and '*'.")


def check_agency_name(name: str) -> None:
    """Refuse a name of an agency outside the rule.

    Raises:
        ModelError: FSS.0400.
    """
    if not _AGENCY_NAME.fullmatch(name):
        raise ModelError("FSS.0400", f"name '{name[:80]}' is invalid: 1 to 64 letters, digits, '_', '-' or '.'.")


def check_description(text: str) -> None:
    """Refuse one that is too long.

    Raises:
        ModelError: FSS.0400.
    """
    if len(text) > MAX_DESCRIPTION_LENGTH:
        raise ModelError("FSS.0400", f"description is longer than {MAX_DESCRIPTION_LENGTH} characters.")


def check_email(text: str) -> None:
    """Refuse what is no address; empty is none.

    Raises:
        ModelError: FSS.0400.
    """
    if text and not _EMAIL.fullmatch(text):
        raise ModelError("FSS.0400", f"email '{text[:80]}' is no address.")


def check_password(password: str, *, name: str) -> None:
    """Refuse a password that is too short or too plain.

    Raises:
        ModelError: FSS.0400.
    """
    classes = (str.islower, str.isupper, str.isdigit, lambda mark: not mark.isalnum())
    kinds = sum(any(is_of(mark) for mark in password) for is_of in classes)
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH or kinds < MIN_PASSWORD_KINDS:
        raise ModelError(
            "FSS.0400",
            f"The password must have {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters, "
            "of at least two of the kinds small letters, capitals, digits, others.",
        )
    if password.lower() in (name.lower(), name[::-1].lower()):
        raise ModelError("FSS.0400", "The password must not be the name.")


def duration_s(duration: str) -> float | None:
    """Return how long an agency lives: `FOREVER` (None), `ONEDAY` or a number of days.

    Raises:
        ModelError: FSS.0400.
    """
    if duration == "FOREVER":
        return None
    if duration == "ONEDAY":
        return DAY_S
    if _DAYS.fullmatch(duration) and 1 <= int(duration) <= MAX_AGENCY_DAYS:
        return int(duration) * DAY_S
    raise ModelError("FSS.0400", f"duration '{duration[:40]}' is invalid: FOREVER, ONEDAY or a number of days.")
