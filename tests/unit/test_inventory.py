"""The file in which the operator says what functions may mount and which networks there are."""

import pytest

from funclet.inventory import MAX_NAMES, InventoryError, file_system_of, load
from funclet.model.inventory import Inventory, Share, Vpc, check_mount_path, shared_path
from funclet.sandbox.sandboxd.shares import is_free

PROJECT = "0123456789abcdef0123456789abcdef"


def write(tmp_path, text):
    path = tmp_path / "inventory.toml"
    path.write_text(text.format(folder=tmp_path, project=PROJECT))
    return str(path)


def test_without_a_file_nothing_is_open():
    assert load("") == Inventory()


def test_a_file_is_read_with_its_defaults(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    path = write(
        tmp_path,
        """
[[shares]]
id = "a"
folder = "{folder}/link"
projects = ["{project}"]
[[shares]]
id = "b"
folder = "{folder}"
projects = ["*"]
types = ["sfsTurbo"]
read_only = true
ready = false
[[vpcs]]
id = "v"
subnets = [{{ id = "s" }}, {{ id = "t", active = false }}]
zones = {{ "x.y" = {{ "@" = "10.0.0.1" }} }}
""",
    )

    folder = str(tmp_path.resolve())
    assert load(path) == Inventory(
        shares={
            "a": Share(id="a", folder=folder, projects=frozenset({PROJECT})),
            "b": Share(
                id="b",
                folder=folder,
                projects=frozenset({"*"}),
                types=frozenset({"sfsTurbo"}),
                read_only=True,
                is_ready=False,
            ),
        },
        vpcs={"v": Vpc(id="v", subnets={"s": True, "t": False}, zones={"x.y": {"@": "10.0.0.1"}})},
    )


SHARE = "[[shares]]\nid = 'a'\nfolder = '{folder}'\nprojects = ['*']\n"
EXPORT = "[[shares]]\nid = 'a'\nexport = '{export}'\nprojects = ['*']\n"


@pytest.mark.parametrize(
    ("export", "kept"),
    [
        ("nas:/export", "nas:/export"),
        ("nas.example:/export//team/", "nas.example:/export/team"),
        ("10.0.0.7:/", "10.0.0.7:"),
        ("[fd00::7]:/export", "[fd00::7]:/export"),
    ],
)
def test_an_export_is_kept_in_its_shortest_form(tmp_path, export, kept):
    share = load(write(tmp_path, EXPORT.replace("{export}", export))).shares["a"]

    assert share == Share(
        id="a", folder=kept, projects=frozenset({"*"}), is_nfs=True, nfs_versions=("4.2", "4.1", "4.0")
    )


@pytest.mark.parametrize("version", ["3", "4.0", "4.1", "4.2"])
def test_a_version_of_nfs_that_is_named_is_the_only_one_tried(tmp_path, version):
    text = EXPORT.replace("{export}", "nas:/export") + f"nfs_version = '{version}'\n"

    assert load(write(tmp_path, text)).shares["a"].nfs_versions == (version,)


@pytest.mark.parametrize(
    "export",
    [
        "/export",
        ":/export",
        "nas",
        "nas:export",
        "nas:/a/../b",
        "nas:/a/.",
        "nas:/a,nosuid",
        "nas,addr=10.0.0.1:/a",
        "nas:/a b",
        "nas:/a\\nb",
        "nas:/a:/b",
        "na s:/a",
        "fd00::7:/export",
        "[nas]:/export",
        "[fd00::7%eth0]:/export",
        "nas:/" + "x" * 1025,
    ],
)
def test_what_is_no_export_is_refused(tmp_path, export):
    text = EXPORT.replace("'{export}'", f'"{export}"')

    with pytest.raises(InventoryError, match="is no export: HOST:/path"):
        load(write(tmp_path, text))


MANY_NAMES = ", ".join(f"n{number} = '10.0.0.1'" for number in range(MAX_NAMES + 1))
TWO_VERSIONS = (
    EXPORT.replace("{export}", "nas:/a")
    + EXPORT.replace("'a'", "'b'").replace("{export}", "nas:/a/")
    + ("nfs_version = '3'\n")
)
VPC = "[[vpcs]]\nid = 'v'\nsubnets = []\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[", "cannot be read"),
        ("shares = 1", "cannot be read"),
        (SHARE + SHARE, "two shares with one id"),
        (VPC + VPC, "two vpcs with one id"),
        (SHARE.replace("'a'", "''"), "needs an id"),
        (SHARE.replace("'a'", "'a b'"), "needs an id"),
        (SHARE.replace("{folder}", "relative"), "is no folder of this host"),
        (SHARE.replace("{folder}", "{folder}/missing"), "is no folder of this host"),
        (SHARE.replace("{folder}", "/"), "belongs to the system"),
        (SHARE.replace("{folder}", "/usr"), "belongs to the system"),
        (SHARE.replace("'*'", "'x'"), "is no project id"),
        (SHARE + "export = 'nas:/a'\n", "either a folder of this host or an export"),
        (SHARE.replace("folder = '{folder}'\n", ""), "either a folder of this host or an export"),
        (SHARE + "nfs_version = '4.2'\n", "nfs_version is for exports"),
        (EXPORT.replace("{export}", "nas:/a") + "nfs_version = '2'\n", "nfs_version is one of 3, 4.0, 4.1, 4.2"),
        (TWO_VERSIONS, "with another nfs_version"),
        (SHARE.replace("['*']", "[]"), "needs projects"),
        (SHARE + "types = ['nfs']\n", "types out of"),
        (SHARE + "readonly = true\n", "unknown field"),
        (SHARE + "read_only = 'yes'\n", "cannot be read"),
        (VPC + "zones = {{ 'a b' = {{}} }}\n", "is no host name"),
        (VPC + "zones = {{ 'a.b' = {{ 'x' = '::1' }} }}\n", "is no IPv4 address"),
        (VPC + "zones = {{ 'a.b' = {{ 'x' = '10.0.0.256' }} }}\n", "is no IPv4 address"),
        (VPC + "zones = {{ 'a.b' = {{ 'x\\ny' = '10.0.0.1' }} }}\n".replace("'x\\ny'", '"x\\ny"'), "is no host name"),
        (VPC + "zones.z = {{ " + MANY_NAMES + " }}\n", "more than 256"),
    ],
)
def test_what_a_file_must_not_say_is_named(tmp_path, text, said):
    with pytest.raises(InventoryError, match=said):
        load(write(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InventoryError, match="nowhere"):
        load(str(tmp_path / "nowhere.toml"))


def test_a_network_file_system_is_told_from_others(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/vda rw\n"
        "2 1 0:50 / /srv/nas\\040share rw,relatime shared:1 - nfs4 10.0.0.7:/exports rw\n"
        "3 2 0:51 / /srv/nas\\040share/local rw - xfs /dev/vdb rw\n"
    )

    kinds = [file_system_of(type(tmp_path)(path), mounts=mounts) for path in (
        "/srv", "/srv/nas share", "/srv/nas share/a/b", "/srv/nas share/local/x", "/srv/nas share-beside"
    )]  # fmt: skip

    assert kinds == ["ext4", "nfs4", "nfs4", "xfs", "ext4"]


@pytest.mark.parametrize(
    ("text", "path"),
    [("", ""), ("/", ""), ("/a", "a"), ("a//b/", "a/b"), ("10.0.0.7:/a/b", "a/b"), ("host:", ""), ("a:b", "a:b")],
)
def test_a_shared_path_is_told_from_its_server(text, path):
    assert shared_path({"mount_share_path": text}) == path


@pytest.mark.parametrize(
    "path", ["/mnt/data", "/mnt/data/", "/home/x", "/data", "/srv/x", "/media/x", "//mnt///x", "/mnt/ü"]
)
def test_where_the_api_lets_mounts_be_seen_sandboxd_does(path):
    assert is_free(check_mount_path(path))
