"""Unpacked code and dependencies: laid together in order, never outside, once for all who ask."""

import asyncio
import hashlib
import io
import os
import stat
import zipfile

import pytest

from funclet.dataplane.code import CodeCache
from funclet.model.function import Code, Layer
from tests.support.packages import zip_of


class Source:
    """Packages by digest, as the blob store has them."""

    def __init__(self):
        self.packages = {}
        self.reads = []

    def add(self, files, links=()):
        data = with_links(files, links) if links else zip_of(files)
        digest = hashlib.sha512(data).hexdigest()
        self.packages[digest] = data
        return digest

    async def read(self, digest):
        self.reads.append(digest)
        await asyncio.sleep(0)
        return self.packages[digest]


def with_links(files, links):
    """Return an archive with files and symbolic links: name -> target."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, target in links.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return buffer.getvalue()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def cache(source, tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    return CodeCache(source, folder)


def code_of(digest, *layers):
    found = tuple(Layer(dependency_id=f"d{number}", digest=layer) for number, layer in enumerate(layers))
    return Code(digest=digest, size=1, code_type="zip", layers=found)


def fetch(cache, *codes):
    async def fetch_all():
        return await asyncio.gather(*(cache.fetch(code) for code in codes))

    return asyncio.run(fetch_all())


def tree(folder):
    """Return what is below a folder: path -> content, or what a link says."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
    return found


def test_without_dependencies_the_folder_is_that_of_the_package(source, cache):
    digest = source.add({"index.py": "1"})

    (folder,) = fetch(cache, code_of(digest))

    assert folder.name == digest
    assert code_of(digest).tree == digest


def test_later_layers_win_and_what_lies_beside_stays(source, cache):
    code = source.add({"index.py": "code", "both.py": "code", "pack/a.py": "code"})
    first = source.add({"both.py": "first", "pack/b.py": "first", "third.py": "first"})
    second = source.add({"pack/b.py": "second", "third.py": "second"})

    (folder,) = fetch(cache, code_of(code, first, second))

    assert tree(folder) == {
        "index.py": "code",
        "both.py": "first",
        "pack/a.py": "code",
        "pack/b.py": "second",
        "third.py": "second",
    }


def test_the_order_of_layers_is_part_of_the_name(source, cache):
    code, first, second = source.add({"a": "0"}), source.add({"b": "1"}), source.add({"b": "2"})

    one, other = fetch(cache, code_of(code, first, second), code_of(code, second, first))

    assert (tree(one)["b"], tree(other)["b"]) == ("2", "1")


def test_files_folders_and_links_take_each_others_place(source, cache):
    code = source.add({"file": "code", "folder/x": "code", "folder/deep/y": "code", "real/z": "code"}, {"link": "real"})
    layer = source.add({"file/inside": "layer", "folder": "layer", "link/new": "layer"})

    (folder,) = fetch(cache, code_of(code, layer))

    assert tree(folder) == {
        "file/inside": "layer",
        "folder": "layer",
        "real/z": "code",
        "link/new": "layer",
    }


def test_nothing_is_written_through_a_link(source, cache, tmp_path):
    """A link of one archive must not carry a file of the next one to where it points."""
    code = source.add({"kept/secret": "code"}, {"way": "kept"})
    layer = source.add({"way/secret": "layer", "other/q": "layer"}, {"other/up": "../kept/secret"})

    (folder,) = fetch(cache, code_of(code, layer))

    assert tree(folder) == {
        "kept/secret": "code",
        "way/secret": "layer",
        "other/q": "layer",
        "other/up": "-> ../kept/secret",
    }
    assert tree(tmp_path / "code" / code)["kept/secret"] == "code"


def test_a_link_in_place_of_a_folder_is_a_link(source, cache):
    code = source.add({"a/one": "code", "b/two": "code"})
    layer = source.add({"c": "layer"}, {"a": "b"})

    (folder,) = fetch(cache, code_of(code, layer))

    assert tree(folder)["a"] == "-> b"
    assert (folder / "a" / "two").read_text() == "code"


def test_content_is_there_once(source, cache):
    code, layer = source.add({"index.py": "code"}), source.add({"lib.py": "layer"})

    merged, plain = fetch(cache, code_of(code, layer), code_of(layer))

    assert (merged / "lib.py").stat().st_ino == (plain / "lib.py").stat().st_ino


def test_where_there_are_no_more_hard_links_files_are_copied(source, cache, monkeypatch):
    code, layer = source.add({"index.py": "code"}), source.add({"lib.py": "layer"}, {"way": "lib.py"})

    def refuse(*_, **__):
        raise OSError(31, "Too many links")

    monkeypatch.setattr("os.link", refuse)
    (folder,) = fetch(cache, code_of(code, layer))

    assert tree(folder) == {"index.py": "code", "lib.py": "layer", "way": "-> lib.py"}


def test_all_who_ask_at_once_wait_for_one(source, cache):
    code, layer = source.add({"index.py": "code"}), source.add({"lib.py": "layer"})

    folders = fetch(cache, *[code_of(code, layer)] * 5, code_of(code), code_of(layer))

    assert len(set(folders)) == 3
    assert sorted(source.reads) == sorted([code, layer])


def test_a_folder_that_is_there_is_not_made_again(source, cache):
    code, layer = source.add({"index.py": "code"}), source.add({"lib.py": "layer"})
    fetch(cache, code_of(code, layer))
    source.reads.clear()

    fetch(cache, code_of(code, layer))

    assert source.reads == []


def test_what_a_crash_left_is_replaced_and_swept(source, cache, tmp_path):
    code, layer = source.add({"index.py": "code"}), source.add({"lib.py": "layer"})
    wanted = code_of(code, layer)
    partial = tmp_path / "code" / f"{wanted.tree}.{os.getpid()}.part"
    (partial / "half").mkdir(parents=True)

    (folder,) = fetch(cache, wanted)

    assert tree(folder) == {"index.py": "code", "lib.py": "layer"}
    partial.mkdir()
    assert cache.sweep(frozenset({code, layer, wanted.tree})) == 1
    assert cache.sweep(frozenset({code, layer})) == 1
    assert {path.name for path in (tmp_path / "code").iterdir()} == {code, layer}


def test_everyone_may_read_whatever_the_umask_is(source, cache):
    code, layer = source.add({"pack/a.py": "code"}), source.add({"pack/b/c.py": "layer"})
    before = os.umask(0o077)
    try:
        (folder,) = fetch(cache, code_of(code, layer))
    finally:
        os.umask(before)

    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*.py")} == {0o644}
