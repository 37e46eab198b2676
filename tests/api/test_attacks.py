"""What somebody may try who has few permissions and wants more. Each was possible once, or is near to what was."""

import asyncio
import base64
import json

import pytest
import yaml

from funclet.base.http import Request
from funclet.keyring.command import KeyCommand
from funclet.services.connections import ConnectionService
from tests.support.api import new_body
from tests.support.packages import zip_of
from tests.support.people import Town, allow, deny

STRONG = "serverless-trust"
LINK = "obs://deploy/secret.zip"
ALL_FUNCTIONS = "functiongraph:*:*"


def refused(answer, action):
    body = answer.json
    assert (answer.status, body["error_code"]) == (403, "FSS.0403"), body
    assert f"is not authorized to perform {action}" in body["error_msg"], body


def template_of(town):
    found = town.done("GET", "{f}/application/templates?runtime=Python3.10")["templates"]
    return next(one["id"] for one in found if not one.get("params"))


# An agency that the caller may not pass


@pytest.mark.parametrize("fields", [{"func_name": None}, {"func_name": "one"}, {}, {"package": None}])
@pytest.mark.parametrize("member", ["xrole", "app_xrole"])
def test_no_body_hides_an_agency_from_the_check(town, fields, member):
    town.function("one")
    token = town.user("ann", [allow(ALL_FUNCTIONS)])

    refused(town.send("PUT", "{f}/functions/one/config", {**fields, member: STRONG}, token=token), "iam:agencies:pass")

    assert town.done("GET", "{f}/functions/one/config")[member] == ""


def import_of(**configuration):
    """Return the body that imports a function with these settings."""
    properties = {"Runtime": "Python3.10", "Handler": "index.handler", "Configuration": configuration}
    resources = {"one": {"Type": "HC::Serverless::Function", "Properties": properties}}
    document = {"HcCrmTemplateVersion": "v1", "Resources": resources}
    code = base64.b64encode(zip_of({"one.yaml": yaml.safe_dump(document)})).decode()
    return {"func_name": "one", "file_name": "one.zip", "file_type": "zip", "file_code": code}


@pytest.mark.parametrize("member", ["xrole", "app_xrole"])
def test_an_import_brings_no_agency_that_may_not_be_passed(town, member):
    body = import_of(**{member: STRONG})
    token = town.user("ann", [allow(ALL_FUNCTIONS)])

    refused(town.send("POST", "{f}/functions/import", body, token=token), "iam:agencies:pass")

    assert town.done("GET", "{f}/functions")["count"] == 0
    assert town.send("POST", "{f}/functions/import", body).status == 200


def test_an_application_gets_no_agency_that_may_not_be_passed(town):
    body = {"name": "shop", "template_id": template_of(town), "agency_name": STRONG}
    token = town.user("ann", [allow(ALL_FUNCTIONS)])

    refused(town.send("POST", "{f}/applications", body, token=token), "iam:agencies:pass")

    assert town.done("GET", "{f}/functions")["count"] == 0
    assert town.send("POST", "{f}/applications", body).status == 200


# Functions by way of an application


def test_an_application_makes_and_deletes_no_function_that_its_caller_may_not(town):
    protected = {"Resource": ["FUNCTIONGRAPH:*:*:function:default/shop-*"]}
    for name, action in (("ann", "create"), ("bob", "delete")):
        town.user(name, [allow(ALL_FUNCTIONS), deny(f"functiongraph:function:{action}", **protected)])
    ann, bob = town.login("ann"), town.login("bob")
    body = {"name": "shop", "template_id": template_of(town), "params": {"bucket": ""}}

    refused(town.send("POST", "{f}/applications", body, token=ann), "functiongraph:function:create")
    made = town.done("POST", "{f}/applications", body, token=bob)
    one = f"{{f}}/applications/{made['application_id']}"
    refused(town.send("DELETE", one, token=bob), "functiongraph:function:delete")

    assert town.done("GET", "{f}/functions")["count"] > 0
    assert town.send("DELETE", one, token=ann).status == 204


def relay_of(town):
    """Return a body that makes one of everything."""
    found = town.done("GET", "{f}/application/templates?category=integration")["templates"]
    return {"name": "shop", "template_id": found[0]["id"], "params": {"secret": "s"}}


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("functiongraph:dependency:create", None),
        ("functiongraph:trigger:create", "function:default/shop-receive"),
        ("functiongraph:function:updateAsyncConfig", "function:default/shop-forward"),
        ("functiongraph:function:invokeAsync", "function:default/shop-forward"),
    ],
)
def test_an_application_makes_nothing_that_its_caller_may_not_make_alone(town, action, resource):
    where = {"Resource": [f"FUNCTIONGRAPH:*:*:{resource}"]} if resource else {}
    token = town.user("ann", [allow(ALL_FUNCTIONS), deny(action, **where)])

    refused(town.send("POST", "{f}/applications", relay_of(town), token=token), action)

    assert town.done("GET", "{f}/functions")["count"] == 0
    assert town.done("GET", "{f}/dependencies")["count"] == 0
    assert town.send("POST", "{f}/applications", relay_of(town)).status == 200


def test_a_report_is_sent_to_no_bucket_that_its_caller_may_not_write_to(town):
    token = town.user("ann", [allow(ALL_FUNCTIONS)])
    body = {"name": "shop", "template_id": template_of(town)}

    refused(town.send("POST", "{f}/applications", body, token=token), "obs:object:PutObject on 'reports'")

    assert town.done("GET", "{f}/functions")["count"] == 0


def test_an_application_deletes_no_dependency_that_its_caller_may_not(town):
    made = town.done("POST", "{f}/applications", relay_of(town))
    one = f"{{f}}/applications/{made['application_id']}"
    dependency_id = town.done("GET", "{f}/dependencies")["dependencies"][0]["dep_id"]
    resource = [f"FUNCTIONGRAPH:*:*:dependency:{dependency_id}"]
    token = town.user("ann", [allow(ALL_FUNCTIONS), deny("functiongraph:dependency:delete", Resource=resource)])

    refused(town.send("DELETE", one, token=token), "functiongraph:dependency:delete")

    assert town.done("GET", one)["status"] == "success"
    assert town.send("DELETE", one).status == 204


# Objects of the project's stores


def attempts(link):
    """Return every call that reads an object in the name of its caller."""
    dependency = {"name": "lib", "runtime": "Python3.10", "depend_type": "obs", "depend_link": link}
    return {
        "CreateFunction": ("POST", "{f}/functions", new_body("linked", code_type="obs", code_url=link)),
        "UpdateFunctionCode": ("PUT", "{f}/functions/one/code", {"code_type": "obs", "code_url": link}),
        "CreateDependency": ("POST", "{f}/dependencies", dependency),
        "CreateDependencyVersion": ("POST", "{f}/dependencies/version", dependency),
        "UpdateDependency": ("PUT", "{f}/dependencies/{d}", dependency),
    }


@pytest.fixture
def stored(town):
    """A town with an object in its own store, a function and a dependency; returns the dependency's id."""
    town.run(town.objects.folder.put(town.project_id, "deploy", "secret.zip", zip_of({"index.py": "pass\n"})))
    town.function("one")
    body = {
        "name": "lib",
        "runtime": "Python3.10",
        "depend_type": "zip",
        "depend_file": base64.b64encode(zip_of({"lib.py": "pass\n"})).decode(),
    }
    return town.done("POST", "{f}/dependencies/version", body)["dep_id"]


@pytest.mark.parametrize("name", attempts(""))
def test_a_link_reads_no_object_that_its_caller_may_not(town, stored, name):
    method, target, body = attempts(LINK)[name]
    target = target.replace("{d}", stored)
    read = "obs:object:GetObject"
    without = town.user("ann", [allow(ALL_FUNCTIONS)])
    other = town.user("bob", [allow(ALL_FUNCTIONS), allow(read, Resource=["OBS:*:*:object:public/*"])])
    denied = town.user("eve", [deny(read, Resource=["OBS:*:*:object:deploy/sec*"])], groups=["developers"])
    right = town.user("kim", [allow(ALL_FUNCTIONS), allow(read, Resource=["OBS:*:*:object:deploy/*"])])

    for token in (without, other, denied):
        refused(town.send(method, target, body, token=token), read)
    assert town.send(method, target, body, token=right).status == 200


def test_whether_an_object_is_there_is_told_only_to_those_who_may_read_it(town):
    body = new_body("linked", code_type="obs", code_url="obs://deploy/not-there.zip")
    token = town.user("ann", [allow(ALL_FUNCTIONS)])

    refused(town.send("POST", "{f}/functions", body, token=token), "obs:object:GetObject")
    assert town.send("POST", "{f}/functions", body).json["error_code"] == "FSS.1054"


def test_a_refused_link_is_in_the_audit_log(town):
    token = town.user("ann", [allow(ALL_FUNCTIONS)])
    town.send("POST", "{f}/functions", new_body("linked", code_type="obs", code_url=LINK), token=token)

    found = town.traces("?outcome=denied")

    assert [(one["operation"], one["user"]["name"]) for one in found] == [("CreateFunction", "ann")]


# Bodies that permissions and operation read differently


@pytest.mark.parametrize(
    "more", [{"runtime": 5}, {"runtime": ["x"]}, {"tags": 1}, {"func_vpc": "x"}, {"vpc_id": {}}, {"package": None}]
)
def test_no_member_that_an_import_ignores_hides_its_function_from_a_deny(town, more):
    protected = {"Resource": ["FUNCTIONGRAPH:*:*:function:default/one"]}
    token = town.user("ann", [deny("functiongraph:*:*", **protected)], groups=["developers"])

    answer = town.send("POST", "{f}/functions/import", import_of() | more, token=token)

    refused(answer, "functiongraph:function:import")


def test_a_body_that_cannot_be_read_makes_no_function(town):
    protected = {"Resource": ["FUNCTIONGRAPH:*:*:function:default/one"]}
    token = town.user("ann", [deny("functiongraph:*:*", **protected)], groups=["developers"])
    text = json.dumps(import_of())[:-1] + ', "tags": "'

    answer = town.post_bytes("{f}/functions/import", text.encode() + b'\xff"}', token=token)

    assert (answer.status, answer.json["error_code"]) == (406, "FSS.0406")
    assert town.done("GET", "{f}/functions")["count"] == 0


def test_a_trigger_is_reached_by_its_own_function_only(town):
    """A policy for one function does not open the triggers of another that is named in the same path."""
    town.function("mine")
    town.function("theirs")
    body = {"trigger_type_code": "TIMER", "event_data": {"name": "t", "schedule_type": "Rate", "schedule": "1d"}}
    theirs = town.done("POST", f"/v2/{town.project_id}/fgs/triggers/theirs", body)["trigger_id"]
    mine = {"Resource": ["FUNCTIONGRAPH:*:*:function:default/mine"]}
    token = town.user("ann", [allow("functiongraph:*:*", **mine)])
    through_mine = f"/v2/{town.project_id}/fgs/triggers/mine/TIMER/{theirs}"

    assert town.send("DELETE", through_mine, token=token).status == 404
    assert town.send("PUT", through_mine, {"trigger_status": "DISABLED"}, token=token).status == 404
    assert town.send("GET", through_mine, token=token).status == 404
    refused(town.send("DELETE", through_mine.replace("mine", "theirs"), token=token), "functiongraph:trigger:delete")


@pytest.fixture(params=["in the clear", "wrapped"])
def sealed_town(request, tmp_path, registry):
    """A town whose key lies in the clear, or wrapped by a program."""
    program = tmp_path / "master-key"
    program.write_text("#!/bin/sh\nexec tr A-Za-z N-ZA-Mn-za-m\n")
    program.chmod(0o755)
    command = KeyCommand(words=[str(program)]) if request.param == "wrapped" else None
    opened = Town(tmp_path, registry, key_command=command)
    yield opened
    opened.close()


def test_secrets_outlive_new_keys_that_are_asked_for_at_once(sealed_town):
    """Whoever may ask for a new key must not be able to make every access key of the server worthless."""
    town = sealed_town
    town.user("ann", groups=["viewers"])
    key = town.key("ann")
    unused = dict.fromkeys(("guard", "links", "stores", "jetstream"))
    service = ConnectionService(town.store, town.clock, vault=town.vault, **unused)

    async def rotate():
        await asyncio.gather(*(service.rotate_key() for _ in range(16)))

    town.run(rotate())
    town.authenticator.forget()

    assert town.send("GET", "{f}/functions", key=key).status == 200


def test_a_secret_that_is_stored_while_the_key_changes_is_sealed_with_the_new_one(sealed_town):
    """Sealed before the change and stored after it, it could never be opened again."""
    town = sealed_town
    unused = dict.fromkeys(("guard", "links", "stores", "jetstream"))
    service = ConnectionService(town.store, town.clock, vault=town.vault, **unused)
    asked = Request(method="GET", raw_path="/", headers={"x-auth-token": town.owner})
    write, may_write = town.store.write, asyncio.Event()

    async def late(work):
        await may_write.wait()
        return await write(work)

    async def scenario():
        owner = await town.authenticator.authenticate(asked)
        town.store.write = late
        making = asyncio.create_task(town.services.iam.create_key(owner, owner.user.user_id, ""))
        await asyncio.sleep(0)
        town.store.write = write
        await service.rotate_key()
        may_write.set()
        return await making

    key = town.run(scenario())

    assert town.send("GET", "{f}/functions", key=(key.access, key.secret, "")).status == 200
