"""Archives of exported functions: one YAML file and the code package that it names. Start with `pack` and `unpack`.

The YAML file has the form of the vendor's templates, one resource of the type
`HC::Serverless::Function`. Equal functions give equal archives.
"""

import io
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from funclet.model import package
from funclet.model.errors import ModelError

FORMAT, RESOURCE_TYPE = "v1", "HC::Serverless::Function"
MAX_YAML_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MADE_ON_UNIX = 3
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What an archive holds."""

    name: str
    """Of the function."""
    properties: Mapping[str, Any]
    code: bytes | None
    """The package; None: the archive holds the configuration only."""


def pack(bundle: Bundle) -> bytes:
    """Return the archive of a function."""
    template = {
        "HcCrmTemplateVersion": FORMAT,
        "Resources": {bundle.name: {"Type": RESOURCE_TYPE, "Properties": dict(bundle.properties)}},
    }
    text = yaml.safe_dump(template, sort_keys=False, allow_unicode=True, width=1000)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(_entry(f"{bundle.name}.yaml"), text, zipfile.ZIP_DEFLATED)
        if bundle.code is not None:
            # It is packed already.
            archive.writestr(_entry(bundle.properties["CodeFileName"]), bundle.code, zipfile.ZIP_STORED)
    return target.getvalue()


def unpack(data: bytes, wanted: str, *, max_code_bytes: int) -> Bundle:
    """Return what an archive holds of the function `wanted`; if it holds one function only, that one.

    Raises:
        ModelError: FSS.1011 if it is no sound archive, FSS.1022 for several YAML files, FSS.1025 for a YAML file that
            is missing or wrong, FSS.1057 if `wanted` is none of several functions, FSS.1058 if it stands there twice,
            FSS.1012 if the code that it names is missing, FSS.1071 if that is larger than `max_code_bytes`.
    """
    entries = {entry.path: entry for entry in package.inspect(data).entries if not entry.is_directory}
    found = [path for path in entries if "/" not in path and path.lower().endswith(_SUFFIXES)]
    if len(found) > 1:
        raise ModelError("FSS.1022", f"The archive has {len(found)} YAML files at its top; exactly one is allowed.")
    if not found:
        raise _bad_yaml("there is none at the top of the archive")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name, properties = _function(_parse(_read(archive, entries[found[0]], MAX_YAML_BYTES, "FSS.1025")), wanted)
        file = properties.get("CodeFileName") or ""
        if not file:
            return Bundle(name=name, properties=properties, code=None)
        if not isinstance(file, str) or file not in entries:
            raise ModelError("FSS.1012", f"The archive has no file '{str(file)[:80]}', which its YAML file names.")
        code = _read(archive, entries[file], max_code_bytes, "FSS.1071")
    return Bundle(name=name, properties=properties, code=code)


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = _MADE_ON_UNIX
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


def _read(archive: zipfile.ZipFile, entry: package.Entry, max_bytes: int, code: str) -> bytes:
    if entry.link_target or entry.size > max_bytes:
        raise ModelError(
            code, f"The file '{entry.path[:80]}' of the archive is a link or larger than {max_bytes} bytes."
        )
    try:
        # The header may promise less than there is.
        with archive.open(archive.infolist()[entry.member]) as file:
            return file.read(max_bytes)
    except package.READ_ERRORS as error:
        raise ModelError("FSS.1011", f"The file '{entry.path[:80]}' of the archive is damaged: {error}.") from error


def _parse(text: bytes) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a safe loader
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _bad_yaml(" ".join(str(error).split())[:300]) from error


def _function(template: Any, wanted: str) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise _bad_yaml("it has no mapping 'Resources'")
    resources = template["Resources"]
    name = wanted if wanted in resources or len(resources) != 1 else str(next(iter(resources)))
    if name not in resources:
        raise ModelError("FSS.1057", f"Function '{wanted[:80]}' is none of the {len(resources)} in the YAML file.")
    resource = resources[name]
    if not isinstance(resource, dict) or resource.get("Type") != RESOURCE_TYPE:
        raise _bad_yaml(f"resource '{name[:80]}' is not of the type {RESOURCE_TYPE}")
    if not isinstance(resource.get("Properties"), dict):
        raise _bad_yaml(f"resource '{name[:80]}' has no mapping 'Properties'")
    return name, resource["Properties"]


def _bad_yaml(reason: str) -> ModelError:
    return ModelError("FSS.1025", f"The YAML file of the archive is invalid: {reason}.")


class _Loader(yaml.SafeLoader):
    """Reads plain values only: no references, which could make much out of little, and no name twice."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node, as the parent class does."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references are not allowed")
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise yaml.YAMLError(f"it has more than {MAX_DEPTH} levels or {MAX_NODES} values")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping, as the parent class does."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError("a name must be a text")
            if key.value in seen:
                raise ModelError("FSS.1058", f"'{str(key.value)[:80]}' stands twice in the YAML file of the archive.")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)
