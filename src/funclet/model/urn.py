"""Function urns: parse every accepted form, print the full one.

`urn:fss:<region>:<project>:function:<package>:<name>[:<version> | :!<alias>]`
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from funclet.model.errors import ModelError

LATEST = "latest"
DEFAULT_PACKAGE = "default"
_MAX_LENGTH = 269
_FULL_FIELDS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Urn:
    """The name of a function, of one of its versions, or of an alias."""

    region: str
    project_id: str
    package: str
    name: str
    qualifier: str = ""
    """A version name, `!alias`, or empty when the urn had none."""

    @property
    def alias(self) -> str:
        """The alias that is addressed, or an empty string."""
        return self.qualifier[1:] if self.qualifier.startswith("!") else ""

    @property
    def version(self) -> str:
        """The version that is addressed; `latest` when there is no qualifier; empty for an alias."""
        return "" if self.alias else self.qualifier or LATEST

    def qualified(self, qualifier: str) -> "Urn":
        """Return the same function with another qualifier."""
        return replace(self, qualifier=qualifier)

    def __str__(self) -> str:
        full = f"urn:fss:{self.region}:{self.project_id}:function:{self.package}:{self.name}"
        return f"{full}:{self.qualifier}" if self.qualifier else full


@lru_cache(maxsize=4096)
def parse(text: str, *, region: str, project_id: str) -> Urn:
    """Read a urn in the full form or in one of the short ones.

    Short forms: `name`, `package:name`, `project:package:name`, `project:package:name:qualifier`.

    Args:
        text: the urn, percent-decoded.
        region: region of this server; a full urn must name it.
        project_id: project of the caller; stands in where the form has none.

    Raises:
        ModelError: FSS.1309 if it is no urn, FSS.0403 if it names another project.
    """
    fields = text.split(":")
    if not text or len(text) > _MAX_LENGTH or not all(fields) or "!" in fields:
        raise _invalid(text)
    if fields[:2] == ["urn", "fss"]:
        urn = _parse_full(text, fields, region)
    elif len(fields) <= 2:  # noqa: PLR2004 - name, or package and name
        package = fields[0] if len(fields) > 1 else DEFAULT_PACKAGE
        urn = Urn(region=region, project_id=project_id, package=package, name=fields[-1])
    elif len(fields) <= 4:  # noqa: PLR2004 - project, package, name and perhaps a qualifier
        urn = Urn(region=region, project_id=fields[0], package=fields[1], name=fields[2], qualifier="".join(fields[3:]))
    else:
        raise _invalid(text)
    if urn.project_id != project_id:
        raise ModelError("FSS.0403", f"The urn '{text}' is of another project than your credentials.")
    return urn


def _parse_full(text: str, fields: list[str], region: str) -> Urn:
    if len(fields) not in (_FULL_FIELDS, _FULL_FIELDS + 1) or fields[4] != "function":
        raise _invalid(text)
    if fields[2] != region:
        raise ModelError("FSS.1309", f"The urn '{text}' is of region '{fields[2]}', but this server is '{region}'.")
    return Urn(region=fields[2], project_id=fields[3], package=fields[5], name=fields[6], qualifier="".join(fields[7:]))


def _invalid(text: str) -> ModelError:
    return ModelError(
        "FSS.1309",
        f"'{text[:_MAX_LENGTH]}' is not a function urn; use 'urn:fss:<region>:<project>:function:<package>:<name>' "
        "with ':<version>' or ':!<alias>' behind it if wanted.",
    )
