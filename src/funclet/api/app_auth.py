"""Which app sends a request to the gateway, and whether it may call the API.

An app signs as users do, with its own key and secret, or sends one of its codes in
`X-Apig-AppCode`. Start with `AppAuthenticator.check`.
"""

import hashlib

from funclet.api.auth import Authenticator
from funclet.api.remembered import Remembered
from funclet.base.clock import Clock
from funclet.base.http import Request
from funclet.model.errors import ModelError
from funclet.model.gateway import App, app_context
from funclet.model.identity import AccessKey, Principal, User
from funclet.store.protocol import Store, Tx
from funclet.vault import Vault, VaultError

CODE_HEADER = "x-apig-appcode"
_WRONG, _NOT_GRANTED = "APIG.0303", "APIG.0304"


class AppAuthenticator:
    """Checks callers of APIs with `auth` APP. Safe to use from many tasks of one loop."""

    def __init__(self, store: Store, clock: Clock, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._signatures = Authenticator(store, clock, find_key=self._find_key)
        self._codes = Remembered[str](clock)
        """Digest of a code -> id of its app."""
        self._grants = Remembered[bool](clock)

    async def check(self, request: Request, api_id: str) -> None:
        """Refuse a request that is not of an app which may call this API.

        An app, code or grant that was removed may still do for five seconds.

        Raises:
            ModelError: APIG.0303 for the credentials, APIG.0304 if the API is not granted.
            StoreUnavailable: they cannot be looked up.
        """
        app_id = await self._app_of(request)
        name = f"{app_id} {api_id}"
        is_known, granted = self._grants.get(name)
        if not is_known:
            may_call = await self._store.read(lambda tx: tx.gateway.may_call(app_id, api_id))
            granted = may_call or None
            self._grants.put(name, granted)
        if not granted:
            raise ModelError(_NOT_GRANTED, "The app may not call this API: it has no grant for it.")

    async def _app_of(self, request: Request) -> str:
        code = request.headers.get(CODE_HEADER)
        if not code:
            try:
                return (await self._signatures.authenticate(request)).user.user_id
            except ModelError as error:
                reason = error.message.rpartition("information: ")[2]
                raise ModelError(_WRONG, f"Incorrect app authentication information: {reason}") from error
        digest = hashlib.sha256(code.encode("latin-1", "replace")).hexdigest()
        is_known, app_id = self._codes.get(digest)
        if not is_known:
            app = await self._store.read(lambda tx: tx.gateway.app_with_code(digest))
            app_id = app.app_id if app else None
            self._codes.put(digest, app_id)
        if app_id is None:
            raise ModelError(_WRONG, "Incorrect app authentication information: the app code is unknown.")
        return app_id

    def _find_key(self, tx: Tx, key: str) -> tuple[AccessKey, Principal] | None:
        app = tx.gateway.app_with_key(key)
        project = next((p for p in tx.identities.projects() if app and p.project_id == app.project_id), None)
        secret = self._reveal(app) if app else None
        if app is None or project is None or secret is None:
            return None
        user = User(user_id=app.app_id, name=app.name, domain_id=project.domain_id, password_hash="")
        access = AccessKey(access=key, secret=secret, user_id=app.app_id, project_id=app.project_id)
        return access, Principal(project=project, user=user)

    def _reveal(self, app: App) -> str | None:
        try:
            return self._vault.reveal(app.sealed_secret, context=app_context(app.app_id))
        except VaultError:
            # Sealed with a key that is gone: nobody can have signed with it rightly.
            return None
