"""How much a project may store."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Quotas of one project, and sizes that hold for each upload."""

    functions: int = 400
    code_bytes: int = 10_240 * MIB
    """Of all versions of all functions together."""
    packages: int = 400
    versions: int = 20
    """Per function, `latest` included."""
    aliases: int = 10
    """Per function."""
    dependencies: int = 400
    dependency_versions: int = 100
    """Per dependency."""
    dependency_bytes: int = 10_240 * MIB
    """Of all versions of all dependencies that the project owns."""
    dependency_upload_bytes: int = 40 * MIB
    """Of a dependency in the body of a request."""
    upload_bytes: int = 50 * MIB
    """Of a package in the body of a request."""
    archive_bytes: int = 50 * MIB
    """Of a function that is exported or imported."""
    fetch_bytes: int = 300 * MIB
    """Of a package that is fetched from a code URL."""
    instances: int = 1000
    """Of all functions together; -1: as many as the host has memory for."""
    subnets: int = 4
    """That its functions are in."""
    echoed_bytes: int = 256 * 1024
    """Of the settings that are stored and returned but do not act."""
