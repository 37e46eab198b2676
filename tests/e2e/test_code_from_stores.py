"""Code and dependencies by link: from a real object store that the project has connected, and from the data folder."""

import asyncio
import base64
import json
import random
import uuid

import pytest

from funclet.base.clock import SystemClock
from funclet.outside.guard import Guard, parse_networks
from funclet.outside.outgoing import AnswerTooLarge, Outgoing
from funclet.outside.s3 import S3, S3Credentials
from tests.support.outside import S3_ACCESS, S3_REGION, S3_SECRET
from tests.support.packages import zip_of
from tests.support.server import PROJECT_ID, ServerProcess
from tests.support.waiting import eventually

LOOPBACK = "127.0.0.0/8"
BUCKET = "packages"
SOURCE = "def handler(event, context):\n    return ['from the store']\n"


@pytest.fixture(scope="module")
def store_server(scratch):
    folder = scratch / "code-from-stores"
    folder.mkdir()
    running = ServerProcess(folder, FGS_TARGET_NETWORKS=LOOPBACK).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def connected(store_server, s3):
    """The server with the store connected for one bucket."""
    body = s3.connection(resources=[BUCKET])
    send(store_server, "PUT", f"/v2/{PROJECT_ID}/funclet/connections/store", body)
    return store_server


def send(server, method, path, body=None, *, raises=True):
    path = path if path.startswith("/v2/") else server.path(path)
    return server.client.call(method, path, body=json.dumps(body).encode() if body else b"", raises=raises)


def put_object(s3, key, data):
    path = s3.objects / BUCKET / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def create(server, url, **fields):
    body = {
        "func_name": f"linked_{uuid.uuid4().hex[:8]}",
        "package": "default",
        "runtime": "Python3.10",
        "handler": "index.handler",
        "timeout": 10,
        "memory_size": 128,
        "code_type": "obs",
        "code_url": url,
    } | fields
    return send(server, "POST", "/functions", body, raises=False)


def urls_of(s3, key):
    """Return every form of the address of an object."""
    host = s3.url.removeprefix("http://")
    return {
        "path": f"{s3.url}/{BUCKET}/{key}",
        "host": f"http://{BUCKET}.{host}/{key}",
        "obs": f"obs://{BUCKET}/{key}",
        "s3": f"s3://{BUCKET}/{key}",
        "cloud": f"https://{BUCKET}.obs.cn-north-4.myhuaweicloud.com/{key}",
    }


@pytest.mark.parametrize("form", ["path", "host", "obs", "s3", "cloud"])
def test_code_is_fetched_from_a_connected_store(connected, s3, form):
    archive = zip_of({"index.py": SOURCE, "tag.txt": form})
    put_object(s3, f"a folder/{form}.zip", archive)
    url = urls_of(s3, f"a%20folder/{form}.zip")[form]

    answer = create(connected, url)

    assert answer.status == 200, answer.body
    created = answer.json()
    assert (created["code_type"], created["code_url"], created["code_size"]) == ("obs", url, len(archive))
    assert connected.invoke(created["func_urn"]).json() == ["from the store"]
    shown = send(connected, "GET", f"/functions/{created['func_urn']}/code").json()
    assert shown["func_code"]["file"] == ""
    link = shown["func_code"]["link"].removeprefix(connected.api_url)
    path, _, query = link.partition("?")
    fetched = connected.client.call("GET", path, query=dict(part.split("=") for part in query.split("&")))
    assert fetched.body == archive


@pytest.mark.proves("error:FSS.1054")
@pytest.mark.parametrize("form", ["path", "obs", "cloud"])
def test_an_object_that_is_not_there(connected, s3, form):
    answer = create(connected, urls_of(s3, "missing.zip")[form])

    assert (answer.status, answer.json()["error_code"]) == (404, "FSS.1054")


def test_an_update_takes_what_is_there_now(connected, s3):
    put_object(s3, "moving.zip", zip_of({"index.py": SOURCE}))
    url = urls_of(s3, "moving.zip")["path"]
    urn = create(connected, url).json()["func_urn"]
    assert connected.invoke(urn).json() == ["from the store"]
    put_object(s3, "moving.zip", zip_of({"index.py": SOURCE.replace("the store", "the new one")}))
    assert connected.invoke(urn).json() == ["from the store"]

    updated = send(connected, "PUT", f"/functions/{urn}/code", {"code_type": "obs", "code_url": url}).json()

    assert updated["code_url"] == url
    assert connected.invoke(urn).json() == ["from the new one"]


def test_what_is_no_archive_is_refused(connected, s3):
    put_object(s3, "text.zip", b"this is no archive")

    answer = create(connected, urls_of(s3, "text.zip")["path"])

    assert (answer.status, answer.json()["error_code"]) == (400, "FSS.1011")


@pytest.mark.proves("error:FSS.1010")
@pytest.mark.parametrize(
    "url",
    [
        "{server}/other-bucket/a.zip",
        "http://127.0.0.1:1/packages/a.zip",
        "http://user@{host}/packages/a.zip",
        "{server}/",
        "{server}/packages",
        "{server}/packages/",
        "{server}/packages/../secret/a.zip",
        "{server}/packages/%2e%2e/a.zip",
        "{server}/PACKAGES/a.zip",
        "obs://x/a.zip",
        "obs:///a.zip",
        "obs://packages/a%0ab.zip",
        "https://other.obs.cn-north-4.myhuaweicloud.com/a.zip",
        "https://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
    ],
)
def test_addresses_that_name_no_object_of_the_project(connected, s3, url):
    answer = create(connected, url.format(server=s3.url, host=s3.url.removeprefix("http://")))

    assert answer.status in (400, 404)
    assert answer.json()["error_code"] == ("FSS.1054" if "other-bucket" in url else "FSS.1010")


def test_a_store_that_is_down_is_said(store_server, s3):
    body = s3.connection(address="http://127.0.0.1:1", resources=["gone"])
    send(store_server, "PUT", f"/v2/{PROJECT_ID}/funclet/connections/gone", body)

    answer = create(store_server, "obs://gone/a.zip")

    assert (answer.status, answer.json()["error_code"]) == (400, "FSS.1010")
    assert "127.0.0.1:1" in answer.json()["error_msg"]


def test_a_bucket_without_a_connection_is_the_one_in_the_data_folder(store_server):
    objects = f"/v2/{PROJECT_ID}/funclet/buckets/local-bucket/objects"
    urn = store_server.deploy("writer", SOURCE)
    destination = {"destination": "OBS", "param": json.dumps({"bucket": "local-bucket", "prefix": "p", "expires": 0})}
    body = {"max_async_retry_attempts": 0, "destination_config": {"on_success": destination}}
    send(store_server, "PUT", f"/functions/{urn}/async-invoke-config", body)
    store_server.client.call("POST", store_server.path(f"/functions/{urn}/invocations-async"), body=b"{}")
    (written,) = eventually(lambda: send(store_server, "GET", objects).json()["objects"], within_s=20)

    # It is what a destination has written, so no archive; but it is found.
    answer = create(store_server, f"obs://local-bucket/{written['key']}")

    assert (answer.status, answer.json()["error_code"]) == (400, "FSS.1011")
    missing = create(store_server, "obs://local-bucket/nothing.zip")
    assert (missing.status, missing.json()["error_code"]) == (404, "FSS.1054")


def test_a_dependency_by_link_keeps_the_link(connected, s3):
    """As Terraform has it: it compares `link` with what it set."""
    archive = zip_of({"greeting.py": "TEXT = 'linked'"})
    put_object(s3, "lib/greeting.zip", archive)
    url = urls_of(s3, "lib/greeting.zip")["cloud"]
    body = {"name": f"lib_{uuid.uuid4().hex[:8]}", "runtime": "Python3.10", "depend_type": "obs", "depend_link": url}

    created = send(connected, "POST", "/dependencies/version", body).json()
    source = "import greeting\ndef handler(event, context):\n    return [greeting.TEXT]\n"
    urn = connected.deploy("uses_link", source, depend_version_list=[created["id"]])

    assert (created["link"], created["file_name"], created["size"]) == (url, "greeting.zip", len(archive))
    assert connected.invoke(urn).json() == ["linked"]


def test_a_large_package_comes_by_link_only(connected, s3):
    """Above the 50 MB of an upload; random, so that it is no smaller as an archive."""
    noise = random.Random(1).randbytes(51 * 1024 * 1024)
    archive = zip_of({"index.py": SOURCE, "noise.bin": noise})
    put_object(s3, "large.zip", archive)

    answer = create(connected, urls_of(s3, "large.zip")["path"])

    assert answer.status == 200, answer.body
    assert answer.json()["code_size"] == len(archive)
    assert connected.invoke(answer.json()["func_urn"]).json() == ["from the store"]
    refused = create(
        connected, "", code_type="zip", code_url="", func_code={"file": base64.b64encode(archive).decode()}
    )
    assert (refused.status, refused.json()["error_code"]) == (413, "FSS.1071")


async def read_with_limit(s3, max_bytes):
    guard = Guard(parse_networks([LOOPBACK]), setting="target_networks")
    credentials = S3Credentials(access=S3_ACCESS, secret=S3_SECRET, region=S3_REGION)
    store = S3(Outgoing(guard), s3.url, credentials, SystemClock())
    return await store.get(BUCKET, "sized.zip", max_bytes=max_bytes)


def test_an_object_has_a_limit(s3):
    put_object(s3, "sized.zip", b"x" * 1000)

    assert asyncio.run(read_with_limit(s3, 1000)) == b"x" * 1000
    with pytest.raises(AnswerTooLarge):
        asyncio.run(read_with_limit(s3, 999))
