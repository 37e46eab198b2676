"""What a function may see of the host: mounts, networks, names. Each documented refusal, and what is shown."""

import json

import pytest

from funclet.model.inventory import ANY_PROJECT, Inventory, Share, Vpc
from tests.support.api import OTHER_PROJECT, PROJECT

ALL = frozenset({ANY_PROJECT})
INVENTORY = Inventory(
    shares={
        share.id: share
        for share in (
            Share(id="team", folder="/srv/team", projects=frozenset({PROJECT.project_id})),
            Share(id="theirs", folder="/srv/theirs", projects=frozenset({OTHER_PROJECT.project_id})),
            Share(id="turbo", folder="/srv/turbo", projects=ALL, types=frozenset({"sfsTurbo"})),
            Share(id="nas", folder="/srv/nas", projects=ALL, is_nfs=True),
            Share(id="broken", folder="/srv/broken", projects=ALL, is_ready=False),
        )
    },
    vpcs={"vpc-1": Vpc(id="vpc-1", subnets={"a": True, "b": True, "c": True, "d": True, "e": True, "off": False})},
)


@pytest.fixture
def api(new_api):
    return new_api(inventory=INVENTORY)


def mount(resource="team", path="/mnt/data", kind="sfs", **more):
    return {"mount_type": kind, "mount_resource": resource, "local_mount_path": path, **more}


def mounts(*rows, **user):
    return {"mount_user": user, "func_mounts": list(rows)}


def vpc(subnet="a", vpc_id="vpc-1"):
    return {"vpc_id": vpc_id, "subnet_id": subnet}


@pytest.mark.proves("quota:mounts")
def test_five_folders_are_mounted_and_shown_with_their_state(api):
    rows = [mount(path=f"/mnt/m{n}", mount_share_path=f"/part{n}") for n in range(5)]

    created = api.create(mount_config=mounts(*rows, user_id=500, user_group_id=-1))

    assert created.status == 200
    assert created.json["mount_config"] == {
        "mount_user": {"user_id": 500, "user_group_id": -1},
        "func_mounts": [row | {"status": "active"} for row in rows],
    }


@pytest.mark.proves("faq:FAQ-226", "error:FSS.1039")
@pytest.mark.parametrize(
    "path",
    [
        "/tmp", "/tmp/x", "/opt", "/opt/function", "/home/snuser", "/home/snuser/x", "/home", "/mnt", "/mnt/", "/usr/x",
        "/etc", "/var/x", "/proc/x", "/sys", "/dev/x", "/lib/x", "/bin", "/root/x", "/run/x", "/srv", "//tmp//",
    ],
)  # fmt: skip
def test_a_place_of_the_system_is_refused_with_the_documented_text(api, path):
    answer = api.create(mount_config=mounts(mount(path=path)))

    assert answer.error == (400, "FSS.1039")
    assert "failed to mount exist system path" in answer.json["error_msg"]


@pytest.mark.proves("faq:FAQ-226")
@pytest.mark.parametrize("path", ["/mnt/test", "/home/data", "/data", "/srv/x", "/mnt/a/"])
def test_other_places_can_be_mounted_upon(api, path):
    assert api.create(mount_config=mounts(mount(path=path))).status == 200


WRONG_MOUNTS = [
    (mounts(mount("missing")), "", 404, "FSS.1050"),
    (mounts(mount("theirs")), "", 404, "FSS.1050"),
    (mounts(mount("turbo")), "", 404, "FSS.1050"),
    (mounts(mount("../team")), "", 404, "FSS.1050"),
    (mounts(mount("/srv/team")), "", 404, "FSS.1050"),
    (mounts(mount("broken")), "", 412, "FSS.1095"),
    (mounts(mount("team", kind="ecs", mount_share_path="/x")), "a", 403, "FSS.1096"),
    (mounts(mount("turbo", kind="sfsTurbo")), "", 403, "FSS.1040"),
    (mounts(mount("nas", kind="ecs", mount_share_path="/x")), "", 403, "FSS.1040"),
    (mounts(mount(), mount(path="/mnt/other")), "", 400, "FSS.1038"),
    (mounts(mount(mount_share_path="/a/b"), mount(path="/m", mount_share_path="a//b/")), "", 400, "FSS.1038"),
    (mounts(mount(), mount("nas")), "", 400, "FSS.1039"),
    (mounts(mount(), mount("nas", path="/mnt/data/")), "", 400, "FSS.1039"),
    (mounts(mount(path="/data"), mount("nas", path="/data/below")), "", 400, "FSS.1039"),
    (mounts(mount(path="/a/b/c")), "", 400, "FSS.1039"),
    (mounts(mount(path="")), "", 400, "FSS.1039"),
    (mounts(mount(path="mnt/data")), "", 400, "FSS.1039"),
    (mounts(mount(path="/mnt/..")), "", 400, "FSS.1039"),
    (mounts(mount(path="/mnt/a\x00")), "", 400, "FSS.1039"),
    (mounts(mount(path="/mnt/a\nb")), "", 400, "FSS.1039"),
    (mounts(mount(path="/mnt/" + "x" * 251)), "", 400, "FSS.1039"),
    (mounts(mount(mount_share_path="../other")), "", 400, "FSS.1039"),
    (mounts(mount(mount_share_path="host:/a/../../b")), "", 400, "FSS.1039"),
    (mounts(mount(mount_share_path="/a\x00")), "", 400, "FSS.1039"),
    (mounts(*(mount(path=f"/m{n}", mount_share_path=f"/{n}") for n in range(6))), "", 403, "FSS.1049"),
    (mounts(mount(kind="nfs")), "", 400, "FSS.0400"),
    (mounts(mount(kind="")), "", 400, "FSS.0400"),
    (mounts(mount(resource="")), "", 400, "FSS.0400"),
    (mounts(mount("nas", kind="ecs")), "a", 400, "FSS.0400"),
    (mounts(mount(), user_id=0), "", 400, "FSS.1075"),
    (mounts(mount(), user_id=1000), "", 400, "FSS.1075"),
    (mounts(mount(), user_group_id=1002), "", 400, "FSS.1075"),
    (mounts(mount(), mount_user_id=65_535), "", 400, "FSS.1075"),
    (mounts(mount(), user_group_id=-2), "", 400, "FSS.1075"),
]


@pytest.mark.proves(
    "quota:mounts",
    "error:FSS.1038",
    "error:FSS.1039",
    "error:FSS.1040",
    "error:FSS.1049",
    "error:FSS.1050",
    "error:FSS.1075",
    "error:FSS.1095",
    "error:FSS.1096",
)
@pytest.mark.parametrize(("config", "agency", "status", "code"), WRONG_MOUNTS)
def test_mounts_that_cannot_be_are_refused_and_change_nothing(api, config, agency, status, code):
    assert api.create(mount_config=config, xrole=agency).error == (status, code)
    api.create()
    before = api.config()

    assert api.update(mount_config=config, xrole=agency).error == (status, code)
    assert api.config() == before


def test_folders_of_other_kinds_need_an_agency(api):
    nfs = mount("nas", kind="ecs", mount_share_path="10.0.0.7:/exports/a")
    turbo = mount("turbo", kind="sfsTurbo", path="/mnt/turbo")

    assert api.create(xrole="agency", mount_config=mounts(nfs, turbo)).status == 200
    assert api.update(xrole="").error == (403, "FSS.1040")


def test_the_mounts_of_a_function_go_with_its_project(api):
    api.act_as(OTHER_PROJECT)

    assert api.create(mount_config=mounts(mount("team"))).error == (404, "FSS.1050")
    assert api.create(mount_config=mounts(mount("theirs"))).status == 200


def test_what_a_function_has_mounted_it_may_keep_when_the_operator_closes_it(new_api, api):
    api.create(mount_config=mounts(mount()))
    api.functions._inventory = Inventory()

    assert api.update(timeout=9).status == 200
    assert api.update(mount_config=mounts(mount(path="/mnt/new"))).error == (404, "FSS.1050")
    assert api.update(mount_config=None).status == 200
    assert "mount_config" not in api.config()


@pytest.mark.proves("error:FSS.1036", "error:FSS.1037", "error:FSS.1090")
@pytest.mark.parametrize(
    ("network", "status", "code"),
    [
        (vpc(vpc_id="vpc-2"), 400, "FSS.1036"),
        (vpc("z"), 400, "FSS.1037"),
        (vpc("off"), 412, "FSS.1090"),
        ({"vpc_id": "vpc-1"}, 400, "FSS.0400"),
        ({"subnet_id": "a"}, 400, "FSS.0400"),
        ({}, 400, "FSS.0400"),
    ],
)
def test_networks_that_are_not_there_are_refused_and_change_nothing(api, network, status, code):
    assert api.create(func_vpc=network, xrole="agency").error == (status, code)
    api.create()
    before = api.config()

    assert api.update(func_vpc=network, xrole="agency").error == (status, code)
    assert api.config() == before


def test_without_a_list_of_networks_every_network_will_do(new_api):
    api = new_api(inventory=Inventory())

    assert api.create(func_vpc=vpc("any", "any"), xrole="agency").status == 200


@pytest.mark.proves("quota:vpc-bindings", "error:FSS.1048", "faq:FAQ-221")
def test_the_functions_of_a_project_are_in_four_subnets_at_most(api):
    for name in "abcd":
        assert api.create(f"in-{name}", func_vpc=vpc(name), xrole="agency").status == 200
    assert api.create("one-more-in-a", func_vpc=vpc("a"), xrole="agency").status == 200

    assert api.create("in-e", func_vpc=vpc("e"), xrole="agency").error == (403, "FSS.1048")
    assert api.update("in-d", func_vpc=vpc("e"), xrole="agency").status == 200
    assert api.update("in-a", func_vpc=vpc("d"), xrole="agency").error == (403, "FSS.1048")

    api.act_as(OTHER_PROJECT)
    assert api.create("in-e", func_vpc=vpc("e"), xrole="agency").status == 200


@pytest.mark.parametrize(
    "text",
    [
        "db.internal",
        "{",
        "{}",
        "1",
        "[1]",
        '["db.internal"]',
        '[{"domain_name": 1}]',
        json.dumps([{"domain_name": "a.b"}] * 101),
        "[" * 100_000,
    ],
)
def test_private_names_that_are_no_list_are_refused(api, text):
    assert api.create(domain_names=text).error == (400, "FSS.0400")


@pytest.mark.parametrize("text", ["", "[]", '[{"id": "1", "domain_name": "db.internal"}]', '[{"id":"1"}]'])
def test_private_names_are_shown_as_they_were_sent(api, text):
    assert api.create(domain_names=text).json["domain_names"] == text
