"""Logging in with the password of the first start, as people do who have no access key."""

import json
import re
import urllib.request

_PASSWORD = re.compile(r"^\s+password\s+(\S+) \(user admin\)$", re.MULTILINE)


def password_of(server):
    """Return the administrator's password, which the first start has printed."""
    return _PASSWORD.search(server.log())[1]


def token_of(server):
    """Return a token of the administrator."""
    user = {"name": "admin", "password": password_of(server), "domain": {"name": "admin"}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    request = urllib.request.Request(
        f"{server.api_url}/v3/auth/tokens",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return answer.headers["X-Subject-Token"]
