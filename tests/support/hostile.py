"""Values that a server must survive: numbers, texts, JSON, archives, encodings. For generated and listed tests."""

import base64
import functools
import io
import stat
import zipfile

from tests.support.packages import zip_of

TEXTS = (
    "",
    " ",
    "x" * 61,
    "x" * 5000,
    "1st",
    "-a",
    "a_",
    "a b",
    "a/b",
    "../../etc/passwd",
    "..\\..\\x",
    "/etc/passwd",
    "nul\x00byte",
    "line\r\nX-Injected: 1",
    "\u202egnp.exe",
    "größe",
    "函数",
    "😀" * 20,
    "a" + "\u0301" * 100,
    "' OR 1=1 --",
    '"; DROP TABLE functions; --',
    "%00",
    "%2e%2e%2f",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "latest",
    "!latest",
    "default",
    "null",
    "true",
    "0",
    "-1",
    "1e9",
    "NaN",
    ":",
    ":::::::",
    "urn:fss::::::",
    "\x7f\x1b[31m",
    "\ufeffx",
    "\uffff",
)
NUMBERS = (-1, 0, 1, 2, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 1.5, -0.0, 1e308)
JSON_VALUES = (None, True, False, [], {}, [[]], [{}], {"": ""}, {"a": {"b": {"c": []}}}, ["x"] * 200, *NUMBERS, *TEXTS)
# Tokens that a JSON writer would not write.
RAW_JSON = (
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    "NaN",
    "-Infinity",
    "1e999",
    "-0",
    "01",
    "9" * 400,
    "0." + "1" * 400,
    "[" * 600 + "]" * 600,
    '{"a":' * 600 + "1" + "}" * 600,
    '{"a":1,"a":"2"}',
    "'x'",
    "undefined",
    '"tab\tinside"',
    '"\\x41"',
)
RAW_BODIES = (
    b"",
    b"{",
    b"}",
    b"null",
    b"[]",
    b"0",
    b'"text"',
    b"true",
    b"{}{}",
    b"{} x",
    b'{"a":1,}',
    b'{"a" 1}',
    b'{"func_name":',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b'{"a":"\xff\xfe"}',
    b"\x00",
    b"[" * 100_000,
    b'{"a":' * 20_000,
    b"func_name=x&timeout=3",
    b"<xml/>",
    b"--abc\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--abc--",
    b" " * 2000 + b"{}",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
)
NOT_BASE64 = ("%%%", "a", "AAA", "====", "UEsDB*AA", "é", "UEsD\u0000BBQ", "-_-_")


@functools.cache
def archives():
    """Return archives that must not be unpacked, by what is wrong with them."""
    return {
        "climbs": zip_of({"../../evil.py": "x"}),
        "climbs inside": zip_of({"a/../../evil.py": "x"}),
        "absolute": zip_of({"/etc/evil": "x"}),
        "symbolic link to a file": _with_link("/etc/passwd"),
        "symbolic link upwards": _with_link("../../.."),
        "ratio": _deflated("zeros", bytes(20 * 1024 * 1024)),
        "entries": _many_entries(70_000),
        "size": _lying_about_size(),
        "twice": _twice(),
        "file and folder": zip_of({"a": "x", "a/b": "y"}),
        "cut": zip_of({"index.py": "x" * 1000})[:-30],
        "no archive": b"this is no archive",
        "nothing": b"PK\x05\x06" + bytes(18),
        "broken content": _with_broken_content(),
    }


@functools.cache
def archive_base64(name):
    """Return one of `archives` in base64."""
    return base64.b64encode(archives()[name]).decode()


def _with_link(target):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, target)
        archive.writestr("link/passwd" if target == "../../.." else "index.py", "x")
    return buffer.getvalue()


def _deflated(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def _many_entries(count):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", allowZip64=True) as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(str(number)), b"")
    return buffer.getvalue()


def _lying_about_size():
    """Return an archive whose directory says that its file has almost 4 GB."""
    data = bytearray(_deflated("big", b"x" * 1000))
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    return bytes(data)


def _twice():
    first = zip_of({"index.py": "first", "indey.py": "second"})
    return first.replace(b"indey.py", b"index.py")


def _with_broken_content():
    data = bytearray(_deflated("index.py", bytes(range(256)) * 8))
    data[45] ^= 0xFF
    return bytes(data)
