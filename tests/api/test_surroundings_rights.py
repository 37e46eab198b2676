"""Where agencies must exist, networks and mounts need one that allows them; elsewhere any name will do."""

from zlib import crc32

import pytest

from funclet.model.inventory import ANY_PROJECT, Inventory, Share
from tests.support.api import new_body
from tests.support.people import Town, allow, deny

ALL = frozenset({ANY_PROJECT})
INVENTORY = Inventory(
    shares={
        "plain": Share(id="plain", folder="/srv/plain", projects=ALL),
        "nas": Share(id="nas", folder="/srv/nas", projects=ALL, is_nfs=True),
    }
)
NETWORK = ["vpc:ports:get", "vpc:ports:create", "vpc:ports:delete", "vpc:vpcs:get", "vpc:subnets:get"]
TURBO = ["sfsturbo:shares:getShare", "sfsturbo:shares:showFsDir"]
SERVER = ["ecs:cloudServers:get"]
VPC = {"func_vpc": {"vpc_id": "vpc-1", "subnet_id": "subnet-1"}}
AGENCIES = "/v3.0/OS-AGENCY"


def mount(kind, share="plain"):
    """Return the settings of a function with one mount."""
    one = {"mount_type": kind, "mount_resource": share, "mount_share_path": "/", "local_mount_path": "/mnt/data"}
    return {"mount_config": {"mount_user": {"user_id": -1, "user_group_id": -1}, "func_mounts": [one]}}


CASES = [(VPC, NETWORK, "FSS.1122"), (mount("sfsTurbo"), TURBO, "FSS.1040"), (mount("ecs", "nas"), SERVER, "FSS.1040")]


@pytest.fixture(scope="module")
def strict(tmp_path_factory, registry):
    """Return an API whose operator wants agencies to exist; each test makes agencies of its own."""
    opened = Town(tmp_path_factory.mktemp("strict"), registry, must_exist=True, inventory=INVENTORY)
    yield opened
    opened.close()


@pytest.fixture
def agency(strict, request):
    """Make an agency with such statements; return its name."""

    def make(*statements):
        name = f"a{crc32(request.node.name.encode()):x}-{len(made)}"
        made.append(strict.done("POST", f"{AGENCIES}/agencies", {"agency": {"name": name}})["agency"]["id"])
        role = strict.policy(name, *statements)["id"]
        strict.done("PUT", f"{AGENCIES}/projects/{{p}}/agencies/{made[-1]}/roles/{role}")
        return name

    made = []
    yield make
    for agency_id in made:
        strict.done("DELETE", f"{AGENCIES}/agencies/{agency_id}")


@pytest.fixture
def create(strict, request):
    """Try to create a function; whatever came to be is deleted at the end."""
    name = f"f{crc32(request.node.name.encode()):x}"

    def send(**fields):
        return strict.send("POST", "{f}/functions", new_body(name, **fields))

    yield send
    strict.send("DELETE", f"{{f}}/functions/{name}")


@pytest.mark.proves("faq:FAQ-232", "error:FSS.1122", "error:FSS.1040")
@pytest.mark.parametrize(("settings", "actions", "code"), CASES, ids=["network", "turbo", "server"])
def test_exactly_the_documented_actions_suffice_and_each_is_needed(strict, agency, create, settings, actions, code):
    for missing in actions:
        rest = [one for one in actions if one != missing] or ["obs:bucket:HeadBucket"]
        answer = create(xrole=agency(allow(*rest)), **settings)
        assert (answer.status, answer.json["error_code"]) == (403, code)
        assert f"is not authorized to perform {missing}" in answer.json["error_msg"]

    assert create(xrole=agency(allow(*actions)), **settings).status == 200


@pytest.mark.parametrize(("settings", "actions", "code"), CASES, ids=["network", "turbo", "server"])
def test_a_denied_action_is_missing(agency, create, settings, actions, code):
    answer = create(xrole=agency(allow("*:*:*"), deny(actions[-1])), **settings)

    assert (answer.status, answer.json["error_code"]) == (403, code)


def test_a_policy_may_name_the_network(agency, create):
    ports = allow("vpc:ports:*")
    resources = ["VPC:*:*:vpcs:vpc-1", "VPC:*:*:subnets:subnet-1"]

    for wrong in (["VPC:*:*:vpcs:vpc-2"], resources[:1]):
        assert create(xrole=agency(ports, allow("vpc:*:*", Resource=wrong)), **VPC).status == 403
    assert create(xrole=agency(ports, allow("vpc:*:*", Resource=resources)), **VPC).status == 200


def test_what_every_server_has_for_functions_suffices(create):
    assert create(xrole="serverless-readonly", **VPC).status == 403
    assert create(xrole="serverless-trust", **VPC).status == 200


def test_a_mount_of_a_folder_needs_nothing(create):
    assert create(xrole="serverless-readonly", **mount("sfs")).status == 200


def test_a_change_is_judged_with_what_stays_and_changes_nothing_when_refused(strict, agency, create):
    weak, strong = agency(allow(*NETWORK[1:])), agency(allow(*NETWORK))
    made = create(xrole=weak).json
    urn, path = made["func_urn"], f"{{f}}/functions/{made['func_urn']}/config"

    def change(**fields):
        answer = strict.send("PUT", path, {"func_name": made["func_name"], "handler": made["handler"], **fields})
        return answer.status, answer.json.get("error_code", "")

    assert change(xrole=weak, **VPC) == (403, "FSS.1122")
    assert "func_vpc" not in strict.done("GET", path) or not strict.done("GET", path)["func_vpc"]
    assert change(xrole=strong, **VPC) == (200, "")
    # The network stays, but another agency stands for it.
    assert change(xrole=weak, **VPC) == (403, "FSS.1122")
    assert strict.done("GET", path)["xrole"] == strong
    assert urn == strict.done("GET", path)["func_urn"]


def test_what_a_function_has_it_keeps_when_its_agency_may_less_now(strict, agency, create):
    name = agency(allow(*NETWORK))
    made = create(xrole=name, **VPC).json
    body = {"func_name": made["func_name"], "handler": made["handler"], "xrole": name, **VPC}
    [agency_id] = [one["id"] for one in strict.done("GET", f"{AGENCIES}/agencies?name={name}")["agencies"]]
    [role] = strict.done("GET", f"{AGENCIES}/projects/{{p}}/agencies/{agency_id}/roles")["roles"]
    strict.done("DELETE", f"{AGENCIES}/projects/{{p}}/agencies/{agency_id}/roles/{role['id']}")

    path = f"{{f}}/functions/{made['func_urn']}/config"

    assert strict.send("PUT", path, {**body, "timeout": 9}).status == 200
    other = {"func_vpc": {"vpc_id": "vpc-2", "subnet_id": "subnet-1"}}
    assert strict.send("PUT", path, {**body, **other}).json["error_code"] == "FSS.1122"


@pytest.mark.proves("error:FSS.1121")
def test_an_agency_that_was_deleted_allows_nothing_new(strict, create):
    strict.done("POST", f"{AGENCIES}/agencies", {"agency": {"name": "short-lived"}})
    made = create(xrole="short-lived").json
    [gone] = strict.done("GET", f"{AGENCIES}/agencies?name=short-lived")["agencies"]
    strict.done("DELETE", f"{AGENCIES}/agencies/{gone['id']}")

    body = {"func_name": made["func_name"], "handler": made["handler"], **VPC}
    answer = strict.send("PUT", f"{{f}}/functions/{made['func_urn']}/config", body)

    assert (answer.status, answer.json["error_code"]) == (403, "FSS.1121")


@pytest.mark.parametrize("settings", [VPC, mount("sfsTurbo", "r1")], ids=["network", "turbo"])
def test_any_name_will_do_where_agencies_need_not_exist(town, settings):
    assert town.send("POST", "{f}/functions", new_body("foo", xrole="whoever", **settings)).status == 200
