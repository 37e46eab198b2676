"""Users, groups and access keys, in the shapes of the cloud's identity service."""

from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.api.wire.identity import iam_time, require, url, user_answer
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.identity import AccessKey, Group
from funclet.services.iam import UserChange


class _User(msgspec.Struct):
    name: str | None = None
    password: str | None = None
    email: str | None = None
    description: str | None = None
    enabled: bool | None = None


class _UserBody(msgspec.Struct):
    user: _User


class _Passwords(msgspec.Struct):
    password: str
    original_password: str


class _PasswordBody(msgspec.Struct):
    user: _Passwords


class _Group(msgspec.Struct):
    name: str | None = None
    description: str | None = None


class _GroupBody(msgspec.Struct):
    group: _Group


class _Key(msgspec.Struct):
    user_id: str | None = None
    description: str | None = None
    status: str | None = None


class _KeyBody(msgspec.Struct):
    credential: _Key


async def create_user(call: Call) -> Response:
    """Serve CreateUser and CreateIamUser."""
    user = await require(call.services.iam).create_user(call.principal, _user_change(call))
    return codec.json_response(201, {"user": user_answer(user, call)})


async def show_user(call: Call) -> Response:
    """Serve ShowUser and ShowIamUser."""
    user = await require(call.services.iam).user(call.principal, call.parameters["user_id"])
    return codec.json_response(200, {"user": user_answer(user, call)})


async def update_user(call: Call) -> Response:
    """Serve UpdateUser and UpdateIamUser: members that are not sent stay as they are."""
    iam = require(call.services.iam)
    user = await iam.update_user(call.principal, call.parameters["user_id"], _user_change(call))
    return codec.json_response(200, {"user": user_answer(user, call)})


async def change_own_password(call: Call) -> Response:
    """Serve ChangeOwnPassword."""
    passwords = codec.decode(_PasswordBody, call).user
    await require(call.services.iam).change_password(
        call.principal, call.parameters["user_id"], old=passwords.original_password, new=passwords.password
    )
    return codec.no_content()


async def delete_user(call: Call) -> Response:
    """Serve DeleteUser."""
    await require(call.services.iam).delete_user(call.principal, call.parameters["user_id"])
    return codec.no_content()


async def list_user_groups(call: Call) -> Response:
    """Serve ListUserGroups."""
    user_id = call.parameters["user_id"]
    groups = await require(call.services.iam).groups_of(call.principal, user_id)
    links = {"self": url(call, f"/v3/users/{user_id}/groups")}
    return codec.json_response(200, {"groups": [_group(one, call) for one in groups], "links": links})


async def create_group(call: Call) -> Response:
    """Serve CreateGroup."""
    body = codec.decode(_GroupBody, call).group
    group = await require(call.services.iam).create_group(
        call.principal, name=body.name or "", description=body.description or ""
    )
    return codec.json_response(201, {"group": _group(group, call)})


async def list_groups(call: Call) -> Response:
    """Serve ListGroups, all or by name."""
    groups = await require(call.services.iam).groups(call.principal, name=call.query.get("name", ""))
    links = {"self": url(call, "/v3/groups")}
    return codec.json_response(200, {"groups": [_group(one, call) for one in groups], "links": links})


async def show_group(call: Call) -> Response:
    """Serve ShowGroup."""
    group = await require(call.services.iam).group(call.principal, call.parameters["group_id"])
    return codec.json_response(200, {"group": _group(group, call)})


async def update_group(call: Call) -> Response:
    """Serve UpdateGroup: members that are not sent stay as they are."""
    body = codec.decode(_GroupBody, call).group
    group = await require(call.services.iam).update_group(
        call.principal, call.parameters["group_id"], name=body.name, description=body.description
    )
    return codec.json_response(200, {"group": _group(group, call)})


async def delete_group(call: Call) -> Response:
    """Serve DeleteGroup."""
    await require(call.services.iam).delete_group(call.principal, call.parameters["group_id"])
    return codec.no_content()


async def list_group_users(call: Call) -> Response:
    """Serve ListGroupUsers."""
    group_id = call.parameters["group_id"]
    users = await require(call.services.iam).members(call.principal, group_id)
    links = {"self": url(call, f"/v3/groups/{group_id}/users")}
    return codec.json_response(200, {"users": [user_answer(one, call) for one in users], "links": links})


async def check_group_member(call: Call) -> Response:
    """Serve CheckGroupMember: 204 or 404."""
    group_id, user_id = call.parameters["group_id"], call.parameters["user_id"]
    if not await require(call.services.iam).is_member(call.principal, group_id, user_id):
        raise ModelError("FSS.0404", "The user is not in the group.")
    return codec.no_content()


async def add_group_member(call: Call) -> Response:
    """Serve AddGroupMember."""
    return await _set_member(call, is_in=True)


async def remove_group_member(call: Call) -> Response:
    """Serve RemoveGroupMember."""
    return await _set_member(call, is_in=False)


async def _set_member(call: Call, *, is_in: bool) -> Response:
    group_id, user_id = call.parameters["group_id"], call.parameters["user_id"]
    await require(call.services.iam).set_member(call.principal, group_id, user_id, is_in=is_in)
    return codec.no_content()


async def create_access_key(call: Call) -> Response:
    """Serve CreateAccessKey, without a user for the caller; the only answer that holds a secret."""
    body = codec.decode(_KeyBody, call).credential
    key = await require(call.services.iam).create_key(
        call.principal, body.user_id or call.principal.user.user_id, body.description or ""
    )
    return codec.json_response(201, {"credential": {**_key(key), "secret": key.secret}})


async def list_access_keys(call: Call) -> Response:
    """Serve ListAccessKeys of a user, without one of the caller."""
    user_id = call.query.get("user_id", "") or call.principal.user.user_id
    keys = await require(call.services.iam).keys(call.principal, user_id)
    return codec.json_response(200, {"credentials": [_key(key) for key in keys]})


async def show_access_key(call: Call) -> Response:
    """Serve ShowAccessKey."""
    key = await require(call.services.iam).key(call.principal, call.parameters["access_key"])
    return codec.json_response(200, {"credential": _key(key)})


async def update_access_key(call: Call) -> Response:
    """Serve UpdateAccessKey: members that are not sent stay as they are."""
    body = codec.decode(_KeyBody, call).credential
    if body.status not in (None, "active", "inactive"):
        raise ModelError("FSS.0400", f"status '{body.status[:40]}' is invalid: active or inactive.")
    key = await require(call.services.iam).update_key(
        call.principal,
        call.parameters["access_key"],
        is_active=None if body.status is None else body.status == "active",
        description=body.description,
    )
    return codec.json_response(200, {"credential": _key(key)})


async def delete_access_key(call: Call) -> Response:
    """Serve DeleteAccessKey."""
    await require(call.services.iam).delete_key(call.principal, call.parameters["access_key"])
    return codec.no_content()


def _user_change(call: Call) -> UserChange:
    body = codec.decode(_UserBody, call).user
    return UserChange(
        name=body.name,
        password=body.password,
        email=body.email,
        description=body.description,
        is_enabled=body.enabled,
    )


def _group(group: Group, call: Call) -> dict[str, Any]:
    return {
        "id": group.group_id,
        "name": group.name,
        "description": group.description,
        "domain_id": group.domain_id,
        "create_time": int(group.created_at * 1000),
        "links": {"self": url(call, f"/v3/groups/{group.group_id}")},
    }


def _key(key: AccessKey) -> dict[str, Any]:
    return {
        "access": key.access,
        "user_id": key.user_id,
        "status": "active" if key.is_active else "inactive",
        "description": key.description,
        "create_time": iam_time(key.created_at),
    }
