"""Users, groups, access keys, policies and agencies through the whole pipeline."""

import hashlib
import json
from dataclasses import replace

import pytest

from funclet.api.wire.policies import MAX_DOCUMENT_BYTES
from funclet.model.identity import MAX_GRANTS, MAX_GROUPS, AccessKey
from funclet.model.roles import READ_ONLY, SYSTEM_ROLES
from funclet.services.identity import bootstrap_identity
from funclet.services.key_secrets import reseal_secrets, seal_plain_secrets
from funclet.services.passwords import hash_password, is_outdated, password_matches
from tests.support.people import PASSWORD, allow, deny

USERS, GROUPS, KEYS = "/v3/users", "/v3/groups", "/v3.0/OS-CREDENTIAL/credentials"
POLICIES, AGENCIES = "/v3.0/OS-ROLE/roles", "/v3.0/OS-AGENCY/agencies"


def message_of(answer):
    return answer.json["error"]["message"]


@pytest.mark.proves("operation:ListGroups", "operation:ListAgencies", "operation:ListGroupRolesEverywhere")
def test_a_new_server_has_groups_and_agencies(town):
    groups = {group["name"] for group in town.done("GET", GROUPS)["groups"]}
    agencies = {agency["name"] for agency in town.done("GET", AGENCIES)["agencies"]}
    developers = town.done("GET", f"/v3/OS-INHERIT/domains/{domain(town)}/groups/{town.group_id('developers')}/roles"
                                  "/inherited_to_projects")  # fmt: skip

    assert groups == {"admin", "developers", "operators", "viewers"}
    assert agencies == {"serverless-trust", "serverless-readonly"}
    assert [role["display_name"] for role in developers["roles"]] == ["FunctionGraph FullAccess"]


def domain(town):
    return town.done("GET", "/v3/auth/domains")["domains"][0]["id"]


def test_a_server_without_groups_gets_them_at_its_next_start(town):
    for group in town.done("GET", GROUPS)["groups"]:
        town.done("DELETE", f"{GROUPS}/{group['id']}")
    for agency in town.done("GET", AGENCIES)["agencies"]:
        town.done("DELETE", f"{AGENCIES}/{agency['id']}")

    assert town.run(bootstrap_identity(town.store, region="test-1")) is None
    assert len(town.done("GET", GROUPS)["groups"]) == 4


@pytest.mark.parametrize("path", [USERS, "/v3.0/OS-USER/users"])
@pytest.mark.proves("operation:CreateUser", "operation:ShowUser", "operation:UpdateUser", "operation:DeleteUser",
                    "operation:ListUsers", "operation:CreateIamUser", "operation:ShowIamUser",
                    "operation:UpdateIamUser")  # fmt: skip
def test_the_life_of_a_user(town, path):
    made = town.send("POST", path, {"user": {"name": "ann", "password": PASSWORD, "email": "a@b.c"}})
    user = made.json["user"]
    method = "PATCH" if path == USERS else "PUT"
    path = f"{path}/{user['id']}"

    assert made.status == 201
    assert (user["name"], user["enabled"], user["email"], user["last_login_time"]) == ("ann", True, "a@b.c", None)
    assert "password" not in str(made.json).replace("password_expires_at", "")
    town.login("ann")
    assert town.done("GET", path)["user"]["last_login_time"] == "2023-11-14T22:13:20.000000Z"
    assert town.done(method, path, {"user": {"description": "d"}})["user"]["description"] == "d"
    assert town.done("GET", f"{USERS}?name=ann")["users"][0]["description"] == "d"
    assert town.send("DELETE", f"{USERS}/{user['id']}").status == 204
    assert town.send("GET", path).status == 404
    assert town.try_login("ann").status == 401


@pytest.mark.parametrize(
    ("user", "named"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "1a"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": 1}, "user.name"),
        ({"name": "ann", "password": "short1!"}, "password"),
        ({"name": "ann", "password": "onlysmall"}, "password"),
        ({"name": "ann12345", "password": "54321nna"}, "password"),
        ({"name": "ann", "email": "no address"}, "email"),
        ({"name": "ann", "description": "x" * 256}, "description"),
        ({"name": "ann", "enabled": "yes"}, "user.enabled"),
    ],
)
def test_a_wrong_user_is_refused_and_not_there(town, user, named):
    answer = town.send("POST", USERS, {"user": user})

    assert answer.status == 400
    assert named in message_of(answer)
    assert len(town.done("GET", USERS)["users"]) == 1


@pytest.mark.parametrize(
    "user", [{"name": "a" * 64}, {"name": "ann", "password": "seven77!", "description": "x" * 255}]
)
def test_a_user_at_the_limits_is_taken(town, user):
    assert town.send("POST", USERS, {"user": user}).status == 201


def test_names_are_taken_once(town):
    for path, body in ((USERS, {"user": {"name": "ann"}}), (GROUPS, {"group": {"name": "g"}}),
                       (AGENCIES, {"agency": {"name": "a"}})):  # fmt: skip
        assert town.send("POST", path, body).status == 201
        assert town.send("POST", path, body).status == 409
    town.policy("p", allow("*"))
    again = {"role": {"display_name": "p", "policy": {"Version": "1.1", "Statement": [allow("*")]}}}
    assert town.send("POST", POLICIES, again).status == 409
    again["role"]["display_name"] = "FunctionGraph FullAccess"
    assert town.send("POST", POLICIES, again).status == 409


def test_nobody_else_can_become_the_owner(town):
    """Whoever may manage users could otherwise give the owner a password and log in as the owner."""
    token = town.user("ann", groups=["admin"])
    path = f"{USERS}/{town.user_id('admin')}"

    assert town.send("PATCH", path, {"user": {"password": PASSWORD}}, token=token).status == 403
    assert town.send("DELETE", path, token=token).status == 403
    body = {"credential": {"user_id": town.user_id("admin")}}
    assert town.send("POST", KEYS, body, token=token).status == 403
    assert town.send("PUT", f"{KEYS}/OWNERKEY", {"credential": {"status": "inactive"}}, token=token).status == 403
    assert town.send("DELETE", f"{KEYS}/OWNERKEY", token=token).status == 403
    assert town.send("PATCH", path, {"user": {"enabled": False}}).status == 403
    assert town.send("DELETE", f"{USERS}/{town.user_id('ann')}", token=token).status == 403


@pytest.mark.proves("operation:ChangeOwnPassword")
def test_users_change_their_own_password_and_all_tokens_end(town):
    token = town.user("ann")
    path = f"{USERS}/{town.user_id('ann')}/password"
    new = {"user": {"password": "Other-horse-2", "original_password": PASSWORD}}

    assert town.send("POST", path, new | {"user": {**new["user"], "original_password": "x"}}, token=token).status == 403
    assert town.send("POST", path, new).status == 403
    assert town.send("POST", path, {"user": {**new["user"], "password": "short"}}, token=token).status == 400
    assert town.send("POST", path, new, token=token).status == 204
    assert town.send("POST", path, new, token=token).status == 401
    assert town.try_login("ann").status == 401
    assert town.login("ann", "Other-horse-2")


@pytest.mark.proves("operation:ListUsers")
def test_users_without_permission_see_only_themselves(town):
    token = town.user("ann")

    assert [user["name"] for user in town.done("GET", USERS, token=token)["users"]] == ["ann"]
    assert town.done("GET", f"{USERS}?name=admin", token=token)["users"] == []
    assert {user["name"] for user in town.done("GET", USERS)["users"]} == {"admin", "ann"}


@pytest.mark.proves(
    "operation:CreateGroup",
    "operation:ShowGroup",
    "operation:UpdateGroup",
    "operation:DeleteGroup",
    "operation:AddGroupMember",
    "operation:CheckGroupMember",
    "operation:RemoveGroupMember",
    "operation:ListGroupUsers",
    "operation:ListUserGroups",
)
def test_the_life_of_a_group(town):
    made = town.done("POST", GROUPS, {"group": {"name": "team", "description": "d"}})["group"]
    path = f"{GROUPS}/{made['id']}"
    town.user("ann")
    member = f"{path}/users/{town.user_id('ann')}"

    assert town.send("HEAD", member).status == 404
    assert town.send("PUT", member).status == 204
    assert town.send("PUT", member).status == 204
    assert town.send("HEAD", member).status == 204
    assert [user["name"] for user in town.done("GET", f"{path}/users")["users"]] == ["ann"]
    groups = town.done("GET", f"{USERS}/{town.user_id('ann')}/groups")["groups"]
    assert [group["name"] for group in groups] == ["team"]
    changed = town.done("PATCH", path, {"group": {"name": "crew"}})["group"]
    assert changed == made | {"name": "crew"}
    assert town.done("GET", path)["group"] == changed
    assert town.send("DELETE", member).status == 204
    assert town.send("DELETE", member).status == 404
    assert town.send("DELETE", path).status == 204
    assert town.send("GET", path).status == 404


def test_the_last_group_passes_and_no_further_one(town):
    there = len(town.done("GET", GROUPS)["groups"])
    statuses = [town.send("POST", GROUPS, {"group": {"name": f"g{n}"}}).status for n in range(MAX_GROUPS - there + 1)]

    assert statuses == [201] * (MAX_GROUPS - there) + [403]


@pytest.mark.proves(
    "operation:CreateAccessKey",
    "operation:ShowAccessKey",
    "operation:ListAccessKeys",
    "operation:UpdateAccessKey",
    "operation:DeleteAccessKey",
)
def test_the_life_of_an_access_key(town):
    town.user("ann", groups=["viewers"])
    made = town.send("POST", KEYS, {"credential": {"user_id": town.user_id("ann"), "description": "d"}})
    key = made.json["credential"]
    path = f"{KEYS}/{key['access']}"
    signing = (key["access"], key["secret"], "")

    assert (made.status, key["status"]) == (201, "active")
    assert town.send("GET", "{f}/functions", key=signing).status == 200
    shown = town.done("GET", path)["credential"]
    assert "secret" not in shown
    assert shown["description"] == "d"
    listed = town.done("GET", f"{KEYS}?user_id={town.user_id('ann')}")["credentials"]
    assert listed == [shown]
    assert town.done("PUT", path, {"credential": {"status": "inactive"}})["credential"]["status"] == "inactive"
    assert town.send("GET", "{f}/functions", key=signing).status == 401
    town.done("PUT", path, {"credential": {"status": "active"}})
    assert town.send("GET", "{f}/functions", key=signing).status == 200
    assert town.send("PUT", path, {"credential": {"status": "on"}}).status == 400
    assert town.send("DELETE", path).status == 204
    assert town.send("GET", "{f}/functions", key=signing).status == 401
    assert town.send("DELETE", path).status == 404


def test_a_user_has_at_most_two_access_keys(town):
    town.user("ann")
    body = {"credential": {"user_id": town.user_id("ann")}}

    assert [town.send("POST", KEYS, body).status for _ in range(3)] == [201, 201, 403]


@pytest.mark.proves(
    "operation:CreateCustomPolicy",
    "operation:ShowCustomPolicy",
    "operation:ListCustomPolicies",
    "operation:UpdateCustomPolicy",
    "operation:DeleteCustomPolicy",
    "operation:ShowRole",
)
def test_the_life_of_a_policy(town):
    made = town.policy("p", allow("functiongraph:function:list"))
    path = f"{POLICIES}/{made['id']}"
    group = f"/v3/projects/{town.project_id}/groups/{town.group_id('viewers')}/roles"

    assert made["policy"]["Statement"][0]["Action"] == ["functiongraph:function:list"]
    assert "warnings" not in made
    assert [one["display_name"] for one in town.done("GET", POLICIES)["roles"]] == ["p"]
    assert town.done("GET", path)["role"] == made
    assert town.done("GET", f"/v3/roles/{made['id']}")["role"] == made
    changed = {"role": {"policy": {"Version": "1.1", "Statement": [deny("funcitongraph:function:list")]}}}
    assert town.done("PATCH", path, changed)["role"]["warnings"] == [
        "the action 'funcitongraph:function:list' is unknown: nothing here asks for it"
    ]
    assert town.send("PUT", f"{group}/{made['id']}").status == 204
    assert [one["display_name"] for one in town.done("GET", group)["roles"]] == ["p"]
    assert town.send("DELETE", path).status == 409
    assert town.send("DELETE", f"{group}/{made['id']}").status == 204
    assert town.send("DELETE", f"{group}/{made['id']}").status == 404
    assert town.send("DELETE", path).status == 204
    assert town.send("GET", path).status == 404


@pytest.mark.parametrize(
    "role",
    [
        {},
        {"display_name": "p"},
        {"display_name": "p", "policy": {"Version": "1.1", "Statement": [{"Effect": "Allow"}]}},
        {"display_name": "a/b", "policy": {"Version": "1.1", "Statement": [allow("*")]}},
        {"display_name": "p", "policy": {"Version": "1.1", "Statement": [allow("a:b:" + "c" * 300)] * 25}},
        {"display_name": "p", "policy": []},
    ],
)
def test_a_wrong_policy_is_refused_and_not_there(town, role):
    assert town.send("POST", POLICIES, {"role": role}).status == 400
    assert town.done("GET", POLICIES)["roles"] == []


@pytest.mark.parametrize(("padding", "status"), [(0, 201), (1, 400)])
def test_a_policy_has_so_many_bytes_and_no_more(town, padding, status):
    actions = ["a:b:" + "c" * 500] * 11
    document = {"Version": "1.1", "Statement": [allow(*actions, "d:e:f")]}
    room = MAX_DOCUMENT_BYTES - len(json.dumps(document, separators=(",", ":")))
    document["Statement"][0]["Action"][-1] += "f" * (room + padding)

    assert town.send("POST", POLICIES, {"role": {"display_name": "p", "policy": document}}).status == status


@pytest.mark.proves("operation:ListRoles")
def test_system_roles_are_listed_and_cannot_be_changed(town):
    roles = town.done("GET", "/v3/roles")["roles"]
    one = town.done("GET", "/v3/roles?display_name=FunctionGraph%20ReadOnlyAccess")["roles"]

    assert {role["display_name"] for role in roles} == {role.name for role in SYSTEM_ROLES}
    assert one[0]["id"] == READ_ONLY.role_id
    assert town.send("DELETE", f"{POLICIES}/{READ_ONLY.role_id}").status == 404
    assert town.send("PATCH", f"{POLICIES}/{READ_ONLY.role_id}", {"role": {"description": "x"}}).status == 404


@pytest.mark.parametrize(
    ("path", "roles"),
    [
        ("/v3/projects/{p}/groups/{g}/roles/{r}", "/v3/projects/{p}/groups/{g}/roles"),
        ("/v3/domains/{d}/groups/{g}/roles/{r}", "/v3/domains/{d}/groups/{g}/roles"),
        (
            "/v3/OS-INHERIT/domains/{d}/groups/{g}/roles/{r}/inherited_to_projects",
            "/v3/OS-INHERIT/domains/{d}/groups/{g}/roles/inherited_to_projects",
        ),
    ],
)
@pytest.mark.proves(
    "operation:GrantGroupRoleOnProject", "operation:ListGroupRolesOnProject", "operation:RevokeGroupRoleOnProject",
    "operation:GrantGroupRoleOnDomain", "operation:ListGroupRolesOnDomain", "operation:RevokeGroupRoleOnDomain",
    "operation:GrantGroupRoleEverywhere", "operation:ListGroupRolesEverywhere",
    "operation:RevokeGroupRoleEverywhere",
)  # fmt: skip
def test_grants_on_project_and_domain(town, path, roles):
    token = town.user("ann")
    group = town.done("POST", GROUPS, {"group": {"name": "team"}})["group"]["id"]
    town.done("PUT", f"{GROUPS}/{group}/users/{town.user_id('ann')}")
    names = {"d": domain(town), "g": group, "r": READ_ONLY.role_id, "p": town.project_id}

    assert town.send("PUT", path.format(**names)).status == 204
    assert town.send("GET", "{f}/functions", token=token).status == 200
    assert [role["id"] for role in town.done("GET", roles.format(**names))["roles"]] == [READ_ONLY.role_id]
    assert town.send("DELETE", path.format(**names)).status == 204
    assert town.done("GET", roles.format(**names))["roles"] == []
    assert town.send("GET", "{f}/functions", token=token).status == 403
    for wrong in ({"g": "0" * 32}, {"r": "0" * 32}, {"p": "0" * 32, "d": "0" * 32}):
        assert town.send("PUT", path.format(**(names | wrong))).status == 404


def test_a_group_has_so_many_grants_and_no_more(town):
    group = town.done("POST", GROUPS, {"group": {"name": "team"}})["group"]["id"]
    roles = [town.policy(f"p{n}", allow("*"))["id"] for n in range(MAX_GRANTS + 1)]

    statuses = [town.send("PUT", f"/v3/projects/{{p}}/groups/{group}/roles/{role}").status for role in roles]

    assert statuses == [204] * MAX_GRANTS + [403]


@pytest.mark.proves("operation:SimulatePolicy")
def test_what_would_be_allowed_can_be_asked(town):
    mine = {"Resource": ["FUNCTIONGRAPH:*:*:function:default/mine"]}
    town.user("ann", [allow("functiongraph:function:invoke", **mine)])
    question = {"user": "ann", "action": "functiongraph:function:invokeFunction"}
    path = f"/v2/{town.project_id}/funclet/policies/simulate"

    def asked(**more):
        return town.done("POST", path, question | more)["is_allowed"]

    assert asked(resource="FUNCTIONGRAPH:x:y:function:default/mine")
    assert not asked(resource="FUNCTIONGRAPH:x:y:function:default/other")
    assert not asked()
    assert asked(user="", agency="serverless-trust")
    assert not asked(user="", agency="serverless-readonly")
    for wrong, status in (({"user": "nobody"}, 404), ({"agency": "x"}, 400), ({"user": ""}, 400),
                          ({"action": "a:b:c"}, 400), ({"context": {"k": "v"}}, 400)):  # fmt: skip
        assert town.send("POST", path, question | wrong).status == status


@pytest.mark.proves("operation:ListAuthProjects", "operation:ListAuthCatalog", "operation:ListEnterpriseProjects")
def test_what_clients_look_up(town):
    assert [row["id"] for row in town.done("GET", "/v3/auth/projects")["projects"]] == [town.project_id]
    catalog = town.done("GET", "/v3/auth/catalog")["catalog"]
    assert [row["type"] for row in catalog] == ["functiongraph", "iam", "identity"]
    assert town.done("GET", "/v1.0/enterprise-projects")["enterprise_projects"][0]["id"] == "0"


def test_a_token_names_the_roles_of_its_user(town):
    town.user("ann", groups=["viewers"])
    token = town.login("ann")

    shown = town.done("GET", "/v3/auth/tokens", x_subject_token=token)["token"]

    assert [role["name"] for role in shown["roles"]] == ["FunctionGraph ReadOnlyAccess"]
    own = town.done("GET", "/v3/auth/tokens", x_subject_token=town.owner)["token"]
    assert [role["name"] for role in own["roles"]] == ["te_admin"]


def test_a_password_of_an_older_server_opens_and_is_hashed_anew(town):
    salt = b"0123456789abcdef"
    digest = hashlib.scrypt(PASSWORD.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
    old = f"scrypt${salt.hex()}${digest.hex()}"
    town.user("ann")

    def age(tx):
        tx.iam.update_user(replace(tx.identities.user_named("ann"), password_hash=old))

    town.run(town.store.write(age))

    assert town.try_login("ann", "Wrong-horse-1").status == 401
    assert town.read(lambda tx: tx.identities.user_named("ann")).password_hash == old
    assert town.login("ann")
    renewed = town.read(lambda tx: tx.identities.user_named("ann")).password_hash
    assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert town.login("ann")


def test_hashes_of_passwords():
    made = hash_password("secret")

    assert password_matches("secret", made)
    assert not password_matches("Secret", made)
    assert not password_matches("secret", "")
    assert not password_matches("secret", "no hash")
    assert hash_password("secret") != made
    assert not is_outdated(made)


def test_no_secret_is_in_any_file(town):
    town.user("ann")
    _, secret, _ = town.key("ann")
    town.run(town.store.close())
    texts = [path.read_bytes() for path in town.folder.rglob("*") if path.is_file()]
    town.store = type(town.store).open(town.folder / "state.db")

    for hidden in (secret, PASSWORD):
        assert not any(hidden.encode() in text for text in texts)


def test_secrets_of_an_older_server_are_sealed_at_the_start(town):
    plain = "plain-secret-of-an-older-server"
    town.user("ann", groups=["viewers"])
    key = AccessKey(access="OLDKEY", secret=plain, user_id=town.user_id("ann"), project_id=town.project_id)
    town.run(town.store.write(lambda tx: tx.identities.add_access_key(key)))
    assert town.send("GET", "{f}/functions", key=("OLDKEY", plain, "")).status == 200

    town.run(seal_plain_secrets(town.vault, town.store))
    stored = town.read(lambda tx: tx.identities.access_key("OLDKEY").secret)
    town.run(seal_plain_secrets(town.vault, town.store))
    town.authenticator.forget()

    assert stored.startswith("sealed:")
    assert town.read(lambda tx: tx.identities.access_key("OLDKEY").secret) == stored
    assert town.send("GET", "{f}/functions", key=("OLDKEY", plain, "")).status == 200
    town.run(town.store.close())
    assert plain.encode() not in (town.folder / "state.db").read_bytes()
    town.store = type(town.store).open(town.folder / "state.db")


def test_sealed_secrets_survive_a_new_key(town):
    town.user("ann", groups=["viewers"])
    key = town.key("ann")
    before = town.read(lambda tx: tx.identities.access_key(key[0]).secret)

    town.vault.add_key()
    town.run(town.store.write(lambda tx: reseal_secrets(town.vault, tx)))
    town.vault.drop_old_keys()
    town.authenticator.forget()

    assert town.read(lambda tx: tx.identities.access_key(key[0]).secret) != before
    assert town.send("GET", "{f}/functions", key=key).status == 200


def test_a_secret_that_was_moved_to_another_key_does_not_open(town):
    town.user("ann", groups=["viewers"])
    mine, other = town.key("ann"), town.key("ann")
    stored = town.read(lambda tx: tx.identities.access_key(other[0]).secret)

    def move(tx):
        tx.identities.add_access_key(replace(tx.identities.access_key(mine[0]), secret=stored))

    town.run(town.store.write(move))

    assert town.send("GET", "{f}/functions", key=(mine[0], other[1], "")).status == 500


def test_secrets_stay_out_of_what_is_printed(town):
    town.user("ann")
    token = town.run(town.services.identity.caller_of(town.login("ann")))

    assert "argon2" not in repr(token)
    assert "s1" not in repr(AccessKey(access="A", secret="s1", user_id="u", project_id="p"))


def test_a_key_signs_after_it_was_read_once_without_the_database(town):
    town.user("ann", groups=["viewers"])
    key = town.key("ann")
    assert town.send("GET", "{f}/service-trusted-agencies", key=key).status == 200
    reads = 0
    read = town.store.read

    def counted(work):
        nonlocal reads
        reads += 1
        return read(work)

    town.authenticator._store = type("Counted", (), {"read": staticmethod(counted)})()
    for _ in range(5):
        assert town.send("GET", "{f}/service-trusted-agencies", key=key).status == 200

    assert reads == 0
