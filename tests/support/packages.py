"""Code packages for tests."""

import base64
import io
import zipfile


def zip_of(files):
    """Return the bytes of an archive with these files: name -> text or bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_base64(files):
    """Return `zip_of` in base64, as the API takes it."""
    return base64.b64encode(zip_of(files)).decode()
