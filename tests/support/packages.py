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


def new_function(name, files, **settings):
    """Return the members of a request that creates a function of these files: in Python, unless `settings` differ."""
    return {
        "func_name": name,
        "package": "default",
        "runtime": "Python3.10",
        "handler": "index.handler",
        "timeout": 10,
        "memory_size": 128,
        "code_type": "zip",
        "code_filename": "index.zip",
        "func_code": {"file": zip_base64(files)},
    } | settings
