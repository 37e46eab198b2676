"""From what a client uploads to a code package, and back to the client by a signed link.

`CodeBuilder.build` gives the bytes of the package; `CodeLinks` makes and checks
the links under which stored packages can be fetched without credentials.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from funclet.base.clock import Clock
from funclet.model import package
from funclet.model.errors import ModelError
from funclet.model.function import CODE_TYPES, Code
from funclet.runtimes.registry import RuntimeSpec
from funclet.services.fetch import CodeFetcher
from funclet.services.limits import MIB, Limits

IMAGE_RUNTIME = "Custom Image"
IMAGE_CODE_TYPE = "Custom-Image-Swr"
LINK_LIFETIME_S = 3600
MAX_FILENAME_LENGTH = 255

_BOOTSTRAP_RUNTIMES = ("Custom", "http")
# api.md 5.2: their code cannot be edited as text.
_COMPILED = ("Java", "Go", "C#", "Cangjie")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeUpload:
    """Code as a client gives it."""

    code_type: str
    content: bytes = b""
    """The file, decoded: an archive, or for `inline` also the source text. Empty: none was given."""
    filename: str = ""
    url: str = ""
    """Where the package is, for `obs`."""

    @property
    def is_empty(self) -> bool:
        """Whether it holds no code at all."""
        return not self.content and not (self.code_type == "obs" and self.url)


def check_code_type(code_type: str) -> None:
    """Refuse a code type that does not exist.

    Raises:
        ModelError: FSS.1006.
    """
    if code_type not in CODE_TYPES:
        raise ModelError("FSS.1006", f"code_type '{code_type[:40]}' is invalid: choose one of {', '.join(CODE_TYPES)}.")


def check_upload(upload: CodeUpload, runtime: str, limits: Limits) -> None:
    """Refuse an upload that no package can be made of, whatever its content is.

    Raises:
        ModelError: FSS.1006 code type, FSS.1071 size, FSS.1078 file name.
    """
    check_code_type(upload.code_type)
    if upload.code_type == "jar" and not runtime.startswith("Java"):
        raise ModelError("FSS.1006", f"code_type 'jar' is for Java only, but the runtime is '{runtime}'.")
    if upload.code_type == IMAGE_CODE_TYPE and runtime != IMAGE_RUNTIME:
        raise ModelError("FSS.1006", f"code_type '{IMAGE_CODE_TYPE}' needs the runtime '{IMAGE_RUNTIME}'.")
    if len(upload.content) > limits.upload_bytes:
        raise ModelError(
            "FSS.1071", f"The code package is larger than {limits.upload_bytes // MIB} MB; give a code_url instead."
        )
    name = upload.filename
    if name in (".", "..") or len(name) > MAX_FILENAME_LENGTH or any(mark in name for mark in "/\\\x00"):
        raise ModelError(
            "FSS.1078", f"code_filename '{name[:80]}' must be a file name without a path, at most 255 characters."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package that was checked."""

    data: bytes
    hint: str = ""
    """What looks wrong with it, though it is accepted."""


class CodeBuilder:
    """Makes packages. Keeps nothing."""

    def __init__(self, fetcher: CodeFetcher) -> None:
        self._fetcher = fetcher

    async def build(self, upload: CodeUpload, runtime: RuntimeSpec, handler: str, *, project_id: str) -> Package:
        """Return the package for an upload that passed `check_upload`; the sample code of the runtime if it is empty.

        The package is checked, content included. A package that was uploaded is returned as it is.

        Raises:
            ModelError: FSS.1010, FSS.1054 or FSS.1071 for the code URL, FSS.1011 for the archive,
                FSS.1012 if there is no code.
        """
        if upload.code_type == "obs":
            if not upload.url:
                raise ModelError("FSS.1010", "code_url is missing: code_type 'obs' needs it.")
            data = await self._fetcher.fetch(upload.url, project_id=project_id)
        elif not upload.content:
            return Package(data=await asyncio.to_thread(_sample, runtime, handler))
        elif upload.code_type == "inline" and not package.is_zip(upload.content):
            return Package(data=await asyncio.to_thread(_wrap_text, upload, runtime, handler))
        else:
            data = upload.content
        return Package(data=data, hint=await asyncio.to_thread(_check, data, runtime, handler))


def _check(data: bytes, runtime: RuntimeSpec, handler: str) -> str:
    """Check an archive; return what looks wrong with it all the same."""
    listing = package.inspect(data)
    package.verify(data, listing)
    wanted = _file_of(handler, runtime)
    folder = package.folder_around(listing, wanted) if runtime.language else ""
    if not folder:
        return ""
    return (
        f"The file '{wanted}' of the handler is not at the top of the package but in the folder '{folder}': "
        "pack what is in the folder, not the folder itself."
    )


def _sample(runtime: RuntimeSpec, handler: str) -> bytes:
    if runtime.language is None:
        raise ModelError("FSS.1012", f"The code is missing: there is no sample code for runtime '{runtime.name}'.")
    return package.wrap(_file_of(handler, runtime), runtime.language.sample.read_bytes())


def _wrap_text(upload: CodeUpload, runtime: RuntimeSpec, handler: str) -> bytes:
    if runtime.name.startswith(_COMPILED):
        raise ModelError("FSS.1011", f"The code of runtime '{runtime.name}' must be a ZIP archive, not a text.")
    if runtime.name in _BOOTSTRAP_RUNTIMES:
        return package.wrap("bootstrap", upload.content, is_executable=True)
    wanted = _file_of(handler, runtime)
    # Clients also send names such as 'index.zip' with a text: only a source file's name is meant for the text.
    is_source = PurePosixPath(upload.filename).suffix == PurePosixPath(wanted).suffix
    return package.wrap(upload.filename if upload.filename and is_source else wanted, upload.content)


def _file_of(handler: str, runtime: RuntimeSpec) -> str:
    """Return the file that a handler `path/file.function` is in."""
    stem = handler.rpartition(".")[0] or handler
    extension = runtime.language.extension if runtime.language else ""
    return f"{stem}.{extension}" if extension else stem


def image_code() -> Code:
    """Return the code of a function that is an image: none."""
    return Code(digest="", size=0, code_type=IMAGE_CODE_TYPE)


class CodeLinks:
    """Links to stored packages that hold for an hour."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def sign(self, digest: str) -> dict[str, str]:
        """Return the query parameters that let anybody who has them fetch the package for `LINK_LIFETIME_S`."""
        expires = str(int(self._clock.now()) + LINK_LIFETIME_S)
        return {"expires": expires, "signature": self._signature(digest, expires)}

    def check(self, digest: str, query: Mapping[str, str]) -> None:
        """Refuse a link that does not allow to fetch the package `digest` now.

        Raises:
            ModelError: FSS.0403 if it was not signed here, was changed, or has expired.
        """
        expires = query.get("expires", "")
        given = query.get("signature", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(self._signature(digest, expires).encode(), given):
            raise ModelError("FSS.0403", "The signature of the link is wrong; ask for the code again.")
        if int(expires) < self._clock.now():
            raise ModelError("FSS.0403", "The link has expired; ask for the code again.")

    def _signature(self, digest: str, expires: str) -> str:
        text = f"code\n{digest}\n{expires}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()
