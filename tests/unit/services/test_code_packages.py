"""From an upload to a package, and signed links."""

import asyncio
import http.server
import io
import threading
import zipfile

import pytest

from funclet.model.errors import ModelError
from funclet.model.package import inspect
from funclet.runtimes.registry import Language, RuntimeSpec
from funclet.services.code import CodeBuilder, CodeLinks, CodeUpload, check_upload
from funclet.services.fetch import CodeFetcher
from funclet.services.limits import Limits
from tests.support.api import StoppedClock
from tests.support.packages import zip_of

ARCHIVE = zip_of({"index.py": "print()"})
DIGEST = "a" * 128


def runtime_of(folder, name="Python3.10", extension="py", *, is_built=True):
    sample = folder / "sample.py"
    sample.write_text("sample")
    language = Language(
        name="python",
        folder=folder,
        arguments=(),
        extension=extension,
        default_handler="index.handler",
        default_memory_mib=128,
        default_timeout_s=3,
        sample=sample,
        interpreter_links=(),
        oldest=(3, 6),
    )
    return RuntimeSpec(
        name=name, display_name=name, directory="", language=language if is_built else None, interpreter=None
    )


def build(upload, runtime, handler="index.handler", fetcher=None):
    return package_of(upload, runtime, handler, fetcher).data


def package_of(upload, runtime, handler="index.handler", fetcher=None):
    return asyncio.run(CodeBuilder(fetcher or CodeFetcher()).build(upload, runtime, handler, project_id="p"))


def files_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


@pytest.mark.parametrize("code_type", ["inline", "zip"])
def test_an_archive_is_kept_as_it_was_uploaded(tmp_path, code_type):
    assert build(CodeUpload(code_type=code_type, content=ARCHIVE), runtime_of(tmp_path)) == ARCHIVE


@pytest.mark.parametrize(
    ("names", "handler", "folder"),
    [
        (["index.py"], "index.handler", ""),
        (["app/index.py", "app/lib.py"], "index.handler", "app"),
        (["index.py", "app/index.py"], "index.handler", ""),
        (["app/src/main.py"], "src/main.run", "app"),
        (["app/deep/index.py"], "index.handler", ""),
        (["app/other.py"], "index.handler", ""),
    ],
)
def test_a_package_of_a_folder_gives_a_hint(tmp_path, names, handler, folder):
    upload = CodeUpload(code_type="zip", content=zip_of(dict.fromkeys(names, "")))

    hint = package_of(upload, runtime_of(tmp_path), handler).hint

    assert bool(hint) == bool(folder)
    assert f"folder '{folder}'" in hint or not folder


def test_a_jar_is_kept_as_it_was_uploaded(tmp_path):
    runtime = runtime_of(tmp_path, "Java11", is_built=False)

    assert build(CodeUpload(code_type="jar", content=ARCHIVE), runtime) == ARCHIVE


@pytest.mark.proves("faq:FAQ-108")
@pytest.mark.parametrize(
    ("handler", "filename", "expected"),
    [
        ("index.handler", "", "index.py"),
        ("main.run", "", "main.py"),
        ("src/main.run", "", "src/main.py"),
        ("pkg.mod.run", "", "pkg.mod.py"),
        ("index.handler", "index.zip", "index.py"),
        ("index.handler", "other.py", "other.py"),
    ],
)
def test_a_text_becomes_the_file_of_the_handler(tmp_path, handler, filename, expected):
    upload = CodeUpload(code_type="inline", content=b"x = 1", filename=filename)

    assert files_of(build(upload, runtime_of(tmp_path), handler)) == {expected: "x = 1"}


@pytest.mark.parametrize("name", ["Custom", "http"])
def test_a_text_becomes_an_executable_bootstrap(tmp_path, name):
    upload = CodeUpload(code_type="inline", content=b"#!/bin/sh", filename="x")
    data = build(upload, runtime_of(tmp_path, name, is_built=False), "bootstrap")

    (entry,) = inspect(data).entries
    assert (entry.path, entry.mode) == ("bootstrap", 0o755)


@pytest.mark.parametrize("name", ["Java11", "Go1.x", "C#(.NET Core 6.0)", "Cangjie1.0"])
def test_a_text_is_no_code_of_a_compiled_language(tmp_path, name):
    with pytest.raises(ModelError, match="not a text") as caught:
        build(CodeUpload(code_type="inline", content=b"class"), runtime_of(tmp_path, name, is_built=False))

    assert caught.value.code == "FSS.1011"


@pytest.mark.parametrize("code_type", ["inline", "zip"])
def test_without_code_the_sample_is_taken_under_the_name_of_the_handler(tmp_path, code_type):
    data = build(CodeUpload(code_type=code_type), runtime_of(tmp_path), "main.handler")

    assert files_of(data) == {"main.py": "sample"}


@pytest.mark.parametrize(
    ("upload", "code"),
    [
        (CodeUpload(code_type="zip"), "FSS.1012"),
        (CodeUpload(code_type="zip", content=b"no archive"), "FSS.1011"),
        (CodeUpload(code_type="inline", content=b"PK\x03\x04 but no archive"), "FSS.1011"),
        (CodeUpload(code_type="obs"), "FSS.1010"),
        (CodeUpload(code_type="obs", url="https://bucket.example/code.zip"), "FSS.1010"),
    ],
)
def test_what_cannot_become_a_package(tmp_path, upload, code):
    runtime = runtime_of(tmp_path, "Go1.x", is_built=False)

    with pytest.raises(ModelError) as caught:
        build(upload, runtime)

    assert caught.value.code == code


@pytest.mark.proves("faq:FAQ-108")
@pytest.mark.parametrize(
    ("upload", "runtime", "code"),
    [
        (CodeUpload(code_type="tar"), "Python3.10", "FSS.1006"),
        (CodeUpload(code_type="ZIP"), "Python3.10", "FSS.1006"),
        (CodeUpload(code_type="jar"), "Python3.10", "FSS.1006"),
        (CodeUpload(code_type="Custom-Image-Swr"), "Python3.10", "FSS.1006"),
        (CodeUpload(code_type="zip", content=b"12345"), "Python3.10", "FSS.1071"),
        (CodeUpload(code_type="zip", filename="../evil.zip"), "Python3.10", "FSS.1078"),
        (CodeUpload(code_type="zip", filename="a/b.zip"), "Python3.10", "FSS.1078"),
        (CodeUpload(code_type="zip", filename="a\\b.zip"), "Python3.10", "FSS.1078"),
        (CodeUpload(code_type="zip", filename=".."), "Python3.10", "FSS.1078"),
        (CodeUpload(code_type="zip", filename="n" * 256), "Python3.10", "FSS.1078"),
        (CodeUpload(code_type="zip", filename="n" * 255, content=b"1234"), "Python3.10", None),
        (CodeUpload(code_type="jar"), "Java11", None),
        (CodeUpload(code_type="Custom-Image-Swr"), "Custom Image", None),
        (CodeUpload(code_type="obs"), "Custom Image", None),
    ],
)
def test_uploads_are_checked_before_they_are_looked_into(upload, runtime, code):
    found = None

    try:
        check_upload(upload, runtime, Limits(upload_bytes=4))
    except ModelError as error:
        found = error.code

    assert found == code


def test_a_signed_link_is_accepted_until_it_expires():
    clock = StoppedClock()
    links = CodeLinks(b"key", clock)
    query = links.sign(DIGEST)

    clock.at += 3600
    links.check(DIGEST, query)
    clock.at += 1
    with pytest.raises(ModelError, match="expired"):
        links.check(DIGEST, query)


@pytest.mark.parametrize(
    ("digest", "changes"),
    [
        ("b" * 128, {}),
        (DIGEST, {"expires": "99999999999"}),
        (DIGEST, {"expires": ""}),
        (DIGEST, {"signature": ""}),
        (DIGEST, {"signature": "é"}),
    ],
)
def test_a_changed_link_is_refused(digest, changes):
    links = CodeLinks(b"key", StoppedClock())
    query = links.sign(DIGEST) | changes

    with pytest.raises(ModelError) as caught:
        links.check(digest, query)

    assert caught.value.code == "FSS.0403"


def test_another_key_signs_other_links():
    query = CodeLinks(b"other", StoppedClock()).sign(DIGEST)

    with pytest.raises(ModelError):
        CodeLinks(b"key", StoppedClock()).check(DIGEST, query)


@pytest.fixture
def bucket():
    """Serve an object store: path -> (status, headers, body)."""
    objects = {
        "/code.zip": (200, {}, ARCHIVE),
        "/moved.zip": (302, {"Location": "http://169.254.169.254/"}, b""),
        "/broken.zip": (500, {}, b""),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = objects.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_package_is_fetched_from_an_allowed_host(bucket, tmp_path):
    upload = CodeUpload(code_type="obs", url=f"http://{bucket}/code.zip")

    assert build(upload, runtime_of(tmp_path), fetcher=CodeFetcher([bucket])) == ARCHIVE


@pytest.mark.parametrize(
    ("path", "code"),
    [("/missing.zip", "FSS.1054"), ("/moved.zip", "FSS.1010"), ("/broken.zip", "FSS.1010")],
)
def test_other_answers_are_errors(bucket, path, code):
    with pytest.raises(ModelError) as caught:
        asyncio.run(CodeFetcher([bucket]).fetch(f"http://{bucket}{path}", project_id="p"))

    assert caught.value.code == code


@pytest.mark.proves("quota:code-object-store")
def test_a_package_may_be_as_large_as_the_limit_and_no_larger(bucket):
    url = f"http://{bucket}/code.zip"

    assert asyncio.run(CodeFetcher([bucket], max_bytes=len(ARCHIVE)).fetch(url, project_id="p")) == ARCHIVE
    with pytest.raises(ModelError) as caught:
        asyncio.run(CodeFetcher([bucket], max_bytes=len(ARCHIVE) - 1).fetch(url, project_id="p"))
    assert caught.value.code == "FSS.1071"


def test_by_default_no_url_is_allowed_and_the_message_names_the_setting():
    with pytest.raises(ModelError, match="code_url_hosts") as caught:
        asyncio.run(CodeFetcher().fetch("https://bucket.example/code.zip", project_id="p"))

    assert caught.value.code == "FSS.1010"


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/code.zip",
        "https://bucket.example:8443/code.zip",
        "https://bucket.example@other.example/code.zip",
        "https://user@bucket.example/code.zip",
        "https://bucket.example.other.example/code.zip",
        "ftp://bucket.example/code.zip",
        "file:///etc/passwd",
        "//bucket.example/code.zip",
        "https://bucket.example/a b",
        "https://bucket.example/\r\nX: y",
        "https://[::1/code.zip",
        "https://bucket.example/" + "a" * 2048,
        "bucket.example",
    ],
)
def test_urls_that_are_not_exactly_of_an_allowed_host_are_refused(url):
    with pytest.raises(ModelError, match="not allowed"):
        asyncio.run(CodeFetcher(["bucket.example"]).fetch(url, project_id="p"))


def test_a_host_that_does_not_answer_is_an_error_of_the_url(bucket):
    with pytest.raises(ModelError) as caught:
        asyncio.run(CodeFetcher(["127.0.0.1:1"]).fetch("http://127.0.0.1:1/code.zip", project_id="p"))

    assert caught.value.code == "FSS.1010"
