"""What the gateway's apps and custom authorizers may ask of the database."""

from collections.abc import Sequence
from typing import Protocol

from funclet.model.gateway import App, AppCode, Authorizer, Grant
from funclet.store.messaging import Reseal


class GatewayAccess(Protocol):
    """Custom authorizers, apps with their codes, and grants."""

    def put_authorizer(self, authorizer: Authorizer) -> None:
        """Create or replace an authorizer by its id; raises `Duplicate` if the project has another of this name."""
        ...

    def authorizers(self, project_id: str = "") -> Sequence[Authorizer]:
        """Return the authorizers of a project, or of all, by name."""
        ...

    def delete_authorizer(self, authorizer_id: str) -> None:
        """Delete an authorizer; nothing happens if there is none."""
        ...

    def put_app(self, app: App) -> None:
        """Create or replace an app by its id; raises `Duplicate` if name or key are taken."""
        ...

    def apps(self, project_id: str = "") -> Sequence[App]:
        """Return the apps of a project, or of all, by name."""
        ...

    def app_with_key(self, key: str) -> App | None:
        """Return the app with this key."""
        ...

    def app_with_code(self, digest: str) -> App | None:
        """Return the app with a code of this SHA-256."""
        ...

    def delete_app(self, app_id: str) -> None:
        """Delete an app with its codes and grants; nothing happens if there is none."""
        ...

    def add_code(self, code: AppCode, digest: str) -> None:
        """Store a code of an app; raises `Duplicate` if it is taken."""
        ...

    def codes(self, app_id: str) -> Sequence[AppCode]:
        """Return the codes of an app, oldest first."""
        ...

    def delete_code(self, code_id: str) -> None:
        """Delete a code; nothing happens if there is none."""
        ...

    def put_grant(self, grant: Grant) -> None:
        """Let an app call an API; one that it may call keeps the grant it has."""
        ...

    def grants(self, app_id: str) -> Sequence[Grant]:
        """Return the grants of an app, oldest first."""
        ...

    def may_call(self, app_id: str, api_id: str) -> bool:
        """Tell whether an app may call an API."""
        ...

    def delete_grant(self, grant_id: str) -> None:
        """Delete a grant; nothing happens if there is none."""
        ...

    def reseal(self, reseal: Reseal) -> None:
        """Seal all secrets anew."""
        ...
