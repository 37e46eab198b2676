"""Apps and custom authorizers of the gateway through the vendor's Python SDK for APIG."""

import pytest
from huaweicloudsdkapig import v2 as apig
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException

from tests.support.server import AK, PROJECT_ID, SK

# Without python-dateutil, which the SDK does not install, its times stay text.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to convert string to datetime:ImportWarning")
INSTANCE = "any"
ECHO = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'seen'}\n"


@pytest.fixture(scope="module")
def gateway(server):
    """Return a function that calls an operation of the SDK by its name, with a plain body."""
    credentials = BasicCredentials(AK, SK, PROJECT_ID)
    client = apig.ApigClient.new_builder().with_credentials(credentials).with_endpoint(server.api_url).build()

    def call(operation, **members):
        kind = getattr(apig, "".join(word.capitalize() for word in operation.split("_")) + "Request")
        return getattr(client, operation)(kind(instance_id=INSTANCE, **members))

    yield call
    client.get_http_client().close()


def refused(call, *arguments, **members):
    """Return the status of a call that must fail."""
    with pytest.raises(ClientRequestException) as caught:
        call(*arguments, **members)
    return caught.value.status_code


@pytest.mark.proves(
    "operation:CreateApp", "operation:ShowApp", "operation:ListApps", "operation:DeleteApp", "operation:CreateAppCode",
    "operation:ListAppCodes", "operation:DeleteAppCode", "operation:CreateAppGrants", "operation:ListAppGrants",
    "operation:DeleteAppGrant",
)  # fmt: skip
def test_an_app_with_a_code_and_a_grant(gateway, server):
    urn = server.deploy("sdk_app", ECHO)
    data = {"name": "sdk_app", "auth": "APP", "path": "/sdk_app"}
    trigger = server.client.create_trigger(urn, {"trigger_type_code": "APIG", "event_data": data})
    api_id = trigger["event_data"]["api_id"]

    app = gateway("create_an_app_v2", body={"name": "sdk_shop", "remark": "of the shop"})
    shown = gateway("show_details_of_app_v2", app_id=app.id)
    assert (shown.name, shown.remark, shown.app_key) == ("sdk_shop", "of the shop", app.app_key)
    assert app.id in [one.id for one in gateway("list_apps_v2").apps]

    code = gateway("create_app_code_v2", app_id=app.id, body={"app_code": "code-of-the-sdk-0001"})
    assert [one.app_code for one in gateway("list_app_codes_v2", app_id=app.id).app_codes] == ["code-of-the-sdk-0001"]

    body = {"app_ids": [app.id], "api_ids": [api_id], "env_id": "any"}
    (grant,) = gateway("create_authorizing_apps_v2", body=body).auths
    assert (grant.app_id, grant.api_id) == (app.id, api_id)
    bound = gateway("list_apis_binded_to_app_v2", app_id=app.id).auths
    assert [(one.id, one.api_id) for one in bound] == [(grant.id, api_id)]

    gateway("canceling_authorization_v2", app_auth_id=grant.id)
    assert gateway("list_apis_binded_to_app_v2", app_id=app.id).auths == []
    gateway("delete_app_code_v2", app_id=app.id, app_code_id=code.id)
    assert gateway("list_app_codes_v2", app_id=app.id).app_codes == []
    gateway("delete_app_v2", app_id=app.id)
    assert refused(gateway, "show_details_of_app_v2", app_id=app.id) == 404


@pytest.mark.proves(
    "operation:CreateCustomAuthorizer", "operation:ShowCustomAuthorizer", "operation:ListCustomAuthorizers",
    "operation:UpdateCustomAuthorizer", "operation:DeleteCustomAuthorizer",
)  # fmt: skip
def test_a_custom_authorizer(gateway, server):
    urn = server.deploy("sdk_decider", ECHO)
    identities = [{"name": "X-Token", "location": "HEADER"}]
    body = {"name": "sdk_check", "type": "FRONTEND", "authorizer_type": "FUNC", "authorizer_uri": urn}

    made = gateway("create_custom_authorizer_v2", body=body | {"ttl": 60, "identities": identities})
    shown = gateway("show_details_of_custom_authorizers_v2", authorizer_id=made.id)
    assert (shown.name, shown.type, shown.authorizer_type, shown.ttl) == ("sdk_check", "FRONTEND", "FUNC", 60)
    assert (shown.authorizer_uri, shown.identities[0].name) == (made.authorizer_uri, "X-Token")
    assert [one.id for one in gateway("list_custom_authorizers_v2", name="sdk_check").authorizer_list] == [made.id]
    changed = gateway("update_custom_authorizer_v2", authorizer_id=made.id, body=body | {"ttl": 5, "user_data": "x"})
    assert (changed.ttl, changed.user_data) == (5, "x")
    gateway("delete_custom_authorizer_v2", authorizer_id=made.id)

    assert refused(gateway, "show_details_of_custom_authorizers_v2", authorizer_id=made.id) == 404
