"""Who may call: projects, users and their credentials."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The tenant boundary. Its name is the region's, as in the cloud."""

    project_id: str
    name: str
    domain_id: str
    domain_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who can log in."""

    user_id: str
    name: str
    domain_id: str
    password_hash: str
    """`scrypt$<salt>$<hash>` in hexadecimal; never shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A key pair that signs requests."""

    access: str
    secret: str
    user_id: str
    project_id: str
    security_token: str = ""
    """Set for temporary keys: requests must carry it."""
    expires_at: float | None = None
    """Seconds since the epoch; None for a permanent key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A login. Only the digest of its text is kept."""

    digest: str
    user_id: str
    project_id: str
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller of one request, after its credentials were checked."""

    project: Project
    user: User
