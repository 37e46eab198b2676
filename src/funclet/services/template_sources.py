"""The source files of a template. Start with `read_sources`."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from funclet.services.code import CodeUpload

# The oldest time that an archive can hold, so that equal files are equal archives.
_ARCHIVE_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Source files of a template by name."""

    files: Mapping[str, bytes]

    @property
    def archive(self) -> bytes:
        """The files as a zip archive; equal files are equal archives."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files.items():
                archive.writestr(zipfile.ZipInfo(name, _ARCHIVE_TIME), content)
        return buffer.getvalue()

    @property
    def upload(self) -> CodeUpload:
        """The files as the code of a new function: one of them as text, several as an archive."""
        name, content = next(iter(self.files.items()))
        if len(self.files) == 1:
            return CodeUpload(code_type="inline", content=content, filename=name)
        return CodeUpload(code_type="zip", content=self.archive, filename="index.zip")


def read_sources(folder: Path, names: Sequence[str]) -> Sources:
    """Read files of a template, whose names end in `.txt` there."""
    return Sources(files={name: (folder / f"{name}.txt").read_bytes() for name in names})
