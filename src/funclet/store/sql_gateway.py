"""The group of `gateway_protocol` over named queries."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from funclet.model.gateway import App, AppCode, Authorizer, Grant, app_context, code_context
from funclet.store.connection import Session
from funclet.store.messaging import Reseal
from funclet.store.protocol import Duplicate


class SqlGatewayAccess:
    """Custom authorizers, apps with their codes, and grants."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._authorizer = msgspec.json.Decoder(Authorizer).decode
        self._app = msgspec.json.Decoder(App).decode
        self._code = msgspec.json.Decoder(AppCode).decode
        self._grant = msgspec.json.Decoder(Grant).decode

    def put_authorizer(self, authorizer: Authorizer) -> None:
        """Create or replace an authorizer by its id; raises `Duplicate` if the project has another of this name."""
        self._run(
            "put_authorizer",
            authorizer,
            authorizer_id=authorizer.authorizer_id,
            project_id=authorizer.project_id,
            name=authorizer.name,
        )

    def authorizers(self, project_id: str = "") -> Sequence[Authorizer]:
        """Return the authorizers of a project, or of all, by name."""
        return [self._authorizer(row[0]) for row in self._session.all("list_authorizers", project_id=project_id)]

    def delete_authorizer(self, authorizer_id: str) -> None:
        """Delete an authorizer; nothing happens if there is none."""
        self._session.run("delete_authorizer", authorizer_id=authorizer_id)

    def put_app(self, app: App) -> None:
        """Create or replace an app by its id; raises `Duplicate` if name or key are taken."""
        self._run("put_app", app, app_id=app.app_id, project_id=app.project_id, name=app.name, app_key=app.key)

    def apps(self, project_id: str = "") -> Sequence[App]:
        """Return the apps of a project, or of all, by name."""
        return [self._app(row[0]) for row in self._session.all("list_apps", project_id=project_id)]

    def app_with_key(self, key: str) -> App | None:
        """Return the app with this key."""
        row = self._session.one("find_app_with_key", app_key=key)
        return self._app(row[0]) if row else None

    def app_with_code(self, digest: str) -> App | None:
        """Return the app with a code of this SHA-256."""
        row = self._session.one("find_app_with_code", digest=digest)
        return self._app(row[0]) if row else None

    def delete_app(self, app_id: str) -> None:
        """Delete an app with its codes and grants; nothing happens if there is none."""
        self._session.run("delete_app", app_id=app_id)

    def add_code(self, code: AppCode, digest: str) -> None:
        """Store a code of an app; raises `Duplicate` if it is taken."""
        self._run("add_app_code", code, code_id=code.code_id, app_id=code.app_id, digest=digest)

    def codes(self, app_id: str) -> Sequence[AppCode]:
        """Return the codes of an app, oldest first."""
        return [self._code(row[0]) for row in self._session.all("list_app_codes", app_id=app_id)]

    def delete_code(self, code_id: str) -> None:
        """Delete a code; nothing happens if there is none."""
        self._session.run("delete_app_code", code_id=code_id)

    def put_grant(self, grant: Grant) -> None:
        """Let an app call an API; one that it may call keeps the grant it has."""
        self._run("put_grant", grant, grant_id=grant.grant_id, app_id=grant.app_id, api_id=grant.api_id)

    def grants(self, app_id: str) -> Sequence[Grant]:
        """Return the grants of an app, oldest first."""
        return [self._grant(row[0]) for row in self._session.all("list_gateway_grants", app_id=app_id)]

    def may_call(self, app_id: str, api_id: str) -> bool:
        """Tell whether an app may call an API."""
        return self._session.one("grant_exists", app_id=app_id, api_id=api_id) is not None

    def delete_grant(self, grant_id: str) -> None:
        """Delete a grant; nothing happens if there is none."""
        self._session.run("delete_gateway_grant", grant_id=grant_id)

    def reseal(self, reseal: Reseal) -> None:
        """Seal all secrets anew."""
        for app in self.apps():
            self.put_app(replace(app, sealed_secret=reseal(app.sealed_secret, app_context(app.app_id))))
        for code in self.codes(""):
            sealed = replace(code, sealed_code=reseal(code.sealed_code, code_context(code.code_id)))
            self._session.run("seal_app_code", code_id=code.code_id, document=_encode(sealed))

    def _run(self, query: str, value: object, **columns: Any) -> None:
        try:
            self._session.run(query, document=_encode(value), **columns)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise Duplicate("the name or the key is taken") from error
            raise


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()
