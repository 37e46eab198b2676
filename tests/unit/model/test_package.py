"""The rules of code packages."""

import io
import stat
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funclet.model import package
from funclet.model.errors import ModelError
from funclet.model.package import inspect, is_zip, verify, wrap
from tests.support.packages import zip_of

SYMLINK = stat.S_IFLNK | 0o777


def zip_with_modes(entries):
    """Return an archive of (name, content, unix mode)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def raw_zip(names):
    """Return an archive whose names no packer would write, the same in both headers."""
    names = [name if isinstance(name, bytes) else name.encode() for name in names]
    body, directory = bytearray(), bytearray()
    for name in names:
        fields = struct.pack("<HHHHHLLLHH", 20, 0x800, 0, 0, 33, 0, 0, 0, len(name), 0)
        directory += (
            b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHLL", 0, 0, 0, 0, len(body)) + name
        )
        body += b"PK\x03\x04" + fields + name
    end = struct.pack("<HHHHLLH", 0, 0, len(names), len(names), len(directory), len(body), 0)
    return bytes(body + directory) + b"PK\x05\x06" + end


def patched_directory(data, offset, value):
    """Overwrite bytes of the first entry of the central directory."""
    at = data.index(b"PK\x01\x02") + offset
    return data[:at] + value + data[at + len(value) :]


def refusal(data):
    with pytest.raises(ModelError) as caught:
        inspect(data)
    assert caught.value.code == "FSS.1011"
    return caught.value.message


def test_listing_names_files_directories_and_sizes():
    listing = inspect(zip_of({"lib/": "", "lib/a.py": "12345", "./index.py": "1"}))

    assert [(entry.path, entry.size, entry.is_directory) for entry in listing.entries] == [
        ("lib", 0, True),
        ("lib/a.py", 5, False),
        ("index.py", 1, False),
    ]
    assert listing.unpacked_bytes == 6


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFREG | 0o755, 0o755),
        (stat.S_IFREG | 0o600, 0o644),
        (stat.S_IFREG | 0o4755, 0o755),
        (0, 0o644),
    ],
)
def test_files_keep_their_mode_but_are_readable_and_never_set_user_id(mode, expected):
    assert inspect(zip_with_modes([("f", "x", mode)])).entries[0].mode == expected


def test_directories_are_0755_whatever_the_archive_says():
    assert inspect(zip_with_modes([("d/", "", stat.S_IFDIR | 0o700)])).entries[0].mode == 0o755


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a ZIP"),
        (b"plain text", "not a ZIP"),
        (zip_of({}), "empty"),
        (zip_of({"a.py": "x" * 100})[:-30], "not a ZIP"),
        (raw_zip(["/etc/passwd"]), "absolute"),
        (raw_zip(["C:/windows"]), "absolute"),
        (raw_zip(["c:evil"]), "absolute"),
        (raw_zip(["../evil"]), "'..'"),
        (raw_zip(["a/../../evil"]), "'..'"),
        (raw_zip(["a\\b"]), "backslash"),
        (raw_zip([b"a\x00.py"]), "NUL"),
        (raw_zip(["index.py~"]), "ends in '~'"),
        (raw_zip(["back~/"]), "ends in '~'"),
        (raw_zip([""]), "no name"),
        (raw_zip(["a", "a"]), "twice"),
        (raw_zip(["a", "./a"]), "twice"),
        (raw_zip(["a", "a/b"]), "both a file and a directory"),
        (raw_zip(["a/b", "a"]), "both a file and a directory"),
        (raw_zip(["a/", "a"]), "both a file and a directory"),
        (raw_zip(["n" * 256]), "longer"),
        (raw_zip(["/".join(["n" * 200] * 6)]), "longer"),
        (raw_zip(["é" * 128]), "longer"),
        (raw_zip(["/".join("d" * 101)]), "nested"),
        (raw_zip([b"\xff\xfe"]), "cannot be read"),
        (zip_with_modes([("pipe", "", stat.S_IFIFO | 0o644)]), "neither"),
        (zip_with_modes([("device", "", stat.S_IFBLK | 0o644)]), "neither"),
        (zip_with_modes([("socket", "", stat.S_IFSOCK | 0o644)]), "neither"),
    ],
)
def test_refused_archives_name_the_reason(data, reason):
    assert reason in refusal(data)


@pytest.mark.parametrize(
    "name", ["n" * 255, "/".join(["n" * 204] * 5), "/".join("d" * 100), "a/b~c", "ü.py", "ab:c", "…"]
)
def test_names_at_the_limits_are_accepted(name):
    assert inspect(raw_zip([name])).entries[0].path == name


def test_a_refusal_names_the_entry():
    assert "'../evil'" in refusal(raw_zip(["fine.py", "../evil"]))


def test_a_name_in_utf8_without_the_mark_is_read_as_utf8():
    data = raw_zip(["ü.py"]).replace(struct.pack("<HH", 20, 0x800), struct.pack("<HH", 20, 0))

    assert inspect(data).entries[0].path == "ü.py"


def test_a_directory_named_twice_is_listed_once():
    assert [entry.path for entry in inspect(raw_zip(["a/", "a/"])).entries] == ["a"]


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("link", "index.py"),
        ("lib/link", "../index.py"),
        ("a/b/link", "../../index.py"),
        ("link", "lib/deep"),
        ("link", "./missing"),
    ],
)
def test_links_inside_the_package_are_accepted(link, target):
    (entry,) = inspect(zip_with_modes([(link, target, SYMLINK)])).entries

    assert (entry.path, entry.link_target) == (link, target)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("link", "/etc/passwd"),
        ("link", ".."),
        ("link", "../x"),
        ("lib/link", "../../x"),
        ("link", "lib/../../x"),
        ("link", "lib/../x"),  # 'lib' may be a link itself, then this leads out
        ("link", "a\x00b"),
        ("link", "a\\b"),
    ],
)
def test_links_that_lead_out_are_refused(link, target):
    assert "leads out" in refusal(zip_with_modes([(link, target, SYMLINK)]))


@pytest.mark.parametrize("target", ["", "t" * 1025])
def test_links_need_a_target_of_sensible_length(target):
    assert "target of" in refusal(zip_with_modes([("link", target, SYMLINK)]))


def test_a_link_cannot_be_the_parent_of_a_file():
    data = zip_with_modes([("d", "lib", SYMLINK), ("d/evil", "x", stat.S_IFREG | 0o644)])

    assert "both" in refusal(data)


@pytest.mark.proves("quota:code-entries")
def test_30000_entries_are_accepted():
    assert len(inspect(raw_zip(f"f{index}" for index in range(30_000))).entries) == 30_000


@pytest.mark.proves("quota:code-entries")
def test_30001_entries_are_refused():
    assert "more than 30000 entries" in refusal(raw_zip(f"f{index}" for index in range(30_001)))


def test_entries_are_counted_also_behind_the_end_record_of_zip64():
    data = raw_zip(f"f{index}" for index in range(30_001))
    end = data.rindex(b"PK\x05\x06")
    start = data.index(b"PK\x01\x02")
    record = b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 30_001, 30_001, end - start, start)
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, end, 1)
    small_end = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 1, 1, 0, 0, 0)

    assert "more than 30000 entries" in refusal(data[:end] + record + locator + small_end)


@pytest.mark.proves("quota:code-unpacked")
def test_more_than_1500_mb_unpacked_is_refused():
    largest, big = (
        patched_directory(raw_zip(["a"]), 24, struct.pack("<L", 1500 * 1024 * 1024 + more)) for more in (0, 1)
    )

    assert "more than 1500 MB" in refusal(big)
    # Its size alone is no reason, so the next check is asked.
    assert "200 times" in refusal(largest)


def test_a_bomb_is_refused_by_its_ratio():
    data = zip_of({"zeros": b"\0" * (10 * 1024 * 1024 + 1)})

    assert "200 times" in refusal(data)


def test_a_high_ratio_is_no_bomb_when_the_whole_is_small():
    assert inspect(zip_of({"zeros": b"\0" * (10 * 1024 * 1024)})).unpacked_bytes == 10 * 1024 * 1024


def test_encrypted_entries_are_refused():
    data = raw_zip(["a"]).replace(struct.pack("<HH", 20, 0x800), struct.pack("<HH", 20, 0x801))

    assert "encrypted" in refusal(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_methods_are_refused(method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a", "x" * 100)

    assert "method" in refusal(buffer.getvalue())


def test_overlapping_entries_are_refused():
    data = zip_of({"a": "one", "b": "two"})
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    same_place = data[: second + 42] + struct.pack("<L", 0) + data[second + 46 :]

    assert "overlaps" in refusal(same_place)


def test_an_entry_that_reaches_into_the_directory_is_refused():
    data = patched_directory(zip_of({"a": "one"}), 20, struct.pack("<L", 1000))

    assert "outside" in refusal(data)


def test_an_entry_with_two_names_is_refused():
    data = zip_of({"safe.py": "one"})

    assert "two names" in refusal(patched_directory(data, 46, b"evil"))


def test_damaged_content_is_found_by_verify():
    data = zip_with_modes([("a.py", "print()", stat.S_IFREG | 0o644)]).replace(b"print()", b"prinT()")

    with pytest.raises(ModelError, match=r"a\.py.*damaged"):
        verify(data, inspect(data))


def test_wrap_gives_the_same_bytes_each_time():
    data = wrap("lib/index.py", b"print()")

    assert data == wrap("lib/index.py", b"print()")
    verify(data, inspect(data))
    assert [(entry.path, entry.mode) for entry in inspect(data).entries] == [("lib/index.py", 0o644)]


def test_wrap_makes_files_executable_if_wanted():
    assert inspect(wrap("bootstrap", b"#!/bin/sh", is_executable=True)).entries[0].mode == 0o755


def test_is_zip_looks_at_the_first_bytes():
    assert is_zip(zip_of({"a": "b"}))
    assert is_zip(zip_of({}))
    assert not is_zip(b"import os\n")


@given(st.binary(max_size=400))
def test_no_bytes_make_inspect_raise_anything_else(data):
    for candidate in (data, b"PK\x03\x04" + data, data + b"PK\x05\x06" + bytes(18)):
        try:
            inspect(candidate)
        except ModelError as error:
            assert error.code == "FSS.1011"  # noqa: PT017


@settings(max_examples=300)
@given(
    names=st.lists(st.text(max_size=12) | st.sampled_from(["a", "a/b", "../a", "./a", "a/", "/"]), max_size=5),
    damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
)
def test_damaged_archives_are_read_or_refused(names, damage):
    data = bytearray(raw_zip(name.encode("utf-8", "surrogatepass") for name in names))
    for position, value in damage:
        data[position % len(data)] = value

    try:
        listing = inspect(bytes(data))
    except ModelError:
        return

    paths = [entry.path for entry in listing.entries]
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))
    assert listing.unpacked_bytes <= package.MAX_UNPACKED_BYTES
