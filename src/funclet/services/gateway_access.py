"""Use cases of the gateway's custom authorizers, and of apps with their codes and grants."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from funclet.base.clock import Clock
from funclet.base.ids import new_hex_id
from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.gateway import (
    App,
    AppCode,
    Authorizer,
    Grant,
    app_context,
    check_app,
    check_authorizer,
    check_secret,
    code_context,
)
from funclet.model.identity import Principal
from funclet.model.urn import LATEST
from funclet.services.functions import require_version
from funclet.store.protocol import Duplicate, Store, Tx
from funclet.triggers.apig import CODES
from funclet.vault import Vault, VaultError

MAX_AUTHORIZERS = 100
MAX_APPS = 1000
MAX_CODES = 5
MAX_GRANTS = 1000
MAX_GRANTED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class ShownApp:
    """An app with its secret, which its project may read."""

    app: App
    secret: str


class GatewayAccessService:
    """Who may call APIs, and who decides about it."""

    def __init__(self, store: Store, clock: Clock, vault: Vault, *, region: str, on_change: Callable[[], None]) -> None:
        """Take the parts; `on_change` is called when the gateway must read its routes again."""
        self._store = store
        self._clock = clock
        self._vault = vault
        self._region = region
        self._on_change = on_change

    # Custom authorizers

    async def create_authorizer(self, principal: Principal, wanted: Authorizer) -> Authorizer:
        """Create an authorizer; ids, project and times of `wanted` are filled in.

        Raises:
            ModelError: FSS.0400; FSS.1309, FSS.1051, FSS.1052, FSS.1053 for its function; FSS.0403 beyond the quota;
                FSS.0409 if the name is taken.
        """
        now, project_id = self._clock.now(), principal.project.project_id
        authorizer = replace(wanted, authorizer_id=new_hex_id(), project_id=project_id, created_at=now, updated_at=now)

        def work(tx: Tx) -> Authorizer:
            if len(tx.gateway.authorizers(project_id)) >= MAX_AUTHORIZERS:
                raise ModelError("FSS.0403", f"The project has {MAX_AUTHORIZERS} authorizers already.")
            return self._put_authorizer(tx, authorizer)

        return await self._changed(work, authorizer.name)

    async def update_authorizer(self, principal: Principal, authorizer_id: str, wanted: Authorizer) -> Authorizer:
        """Replace an authorizer by `wanted`; what it decided before does not count any more.

        Raises:
            ModelError: as `create_authorizer`; FSS.0404.
        """
        project_id, now = principal.project.project_id, self._clock.now()

        def work(tx: Tx) -> Authorizer:
            old = _authorizer(tx, project_id, authorizer_id)
            if old.kind is not wanted.kind:
                raise ModelError("FSS.0400", "type cannot be changed; create another authorizer.")
            new = replace(
                wanted,
                authorizer_id=authorizer_id,
                project_id=project_id,
                created_at=old.created_at,
                updated_at=now,
            )
            return self._put_authorizer(tx, new)

        return await self._changed(work, wanted.name)

    async def authorizers(self, principal: Principal) -> Sequence[Authorizer]:
        """Return the authorizers of the project by name."""
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: tx.gateway.authorizers(project_id))

    async def authorizer(self, principal: Principal, authorizer_id: str) -> Authorizer:
        """Return an authorizer.

        Raises:
            ModelError: FSS.0404.
        """
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: _authorizer(tx, project_id, authorizer_id))

    async def delete_authorizer(self, principal: Principal, authorizer_id: str) -> None:
        """Delete an authorizer that no trigger asks.

        Raises:
            ModelError: FSS.0404; FSS.0409 if a trigger names it.
        """
        project_id = principal.project.project_id

        def work(tx: Tx) -> None:
            _authorizer(tx, project_id, authorizer_id)
            for trigger in tx.triggers.of_type(*CODES):
                named = (trigger.event_data.get("x_authorizer_id"), trigger.event_data.get("x_backend_authorizer_id"))
                if trigger.project_id == project_id and authorizer_id in named:
                    raise ModelError("FSS.0409", f"Trigger {trigger.trigger_id} asks this authorizer; change it first.")
            tx.gateway.delete_authorizer(authorizer_id)

        await self._store.write(work)
        self._on_change()

    def _put_authorizer(self, tx: Tx, authorizer: Authorizer) -> Authorizer:
        check_authorizer(authorizer)
        place = urns.parse(authorizer.function_urn, region=self._region, project_id=authorizer.project_id)
        place = place.qualified(place.qualifier or LATEST)
        require_version(tx, place)
        authorizer = replace(authorizer, function_urn=str(place))
        tx.gateway.put_authorizer(authorizer)
        return authorizer

    async def _changed(self, work: Callable[[Tx], Authorizer], name: str) -> Authorizer:
        try:
            authorizer = await self._store.write(work)
        except Duplicate as error:
            raise ModelError("FSS.0409", f"The project has an authorizer '{name}' already.") from error
        self._on_change()
        return authorizer

    # Apps

    async def create_app(self, principal: Principal, *, name: str, remark: str, key: str, secret: str) -> ShownApp:
        """Create an app; an empty key or secret is made up.

        Raises:
            ModelError: FSS.0400; FSS.0403 beyond the quota; FSS.0409 if name or key are taken.
        """
        check_app(name, remark, key, secret)
        project_id, now, app_id = principal.project.project_id, self._clock.now(), new_hex_id()
        secret = secret or new_hex_id()
        app = App(
            app_id=app_id,
            project_id=project_id,
            name=name,
            remark=remark,
            key=key or new_hex_id(),
            sealed_secret=b"",
            created_at=now,
            updated_at=now,
        )

        def work(tx: Tx) -> None:
            if len(tx.gateway.apps(project_id)) >= MAX_APPS:
                raise ModelError("FSS.0403", f"The project has {MAX_APPS} apps already.")
            # Sealed in here, or a change of the vault's key could come between.
            tx.gateway.put_app(replace(app, sealed_secret=self._vault.seal(secret, context=app_context(app_id))))

        await self._added(work, f"There is an app '{name}' or one with this key already.")
        return ShownApp(app, secret)

    async def apps(self, principal: Principal) -> Sequence[App]:
        """Return the apps of the project by name."""
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: tx.gateway.apps(project_id))

    async def app(self, principal: Principal, app_id: str) -> ShownApp:
        """Return an app with its secret.

        Raises:
            ModelError: FSS.0404; FSS.0500 if the key of the secrets is gone.
        """
        project_id = principal.project.project_id
        app = await self._store.read(lambda tx: _app(tx, project_id, app_id))
        return ShownApp(app, self._reveal(app.sealed_secret, app_context(app.app_id)))

    async def delete_app(self, principal: Principal, app_id: str) -> None:
        """Delete an app with its codes and grants.

        Raises:
            ModelError: FSS.0404.
        """
        project_id = principal.project.project_id
        await self._store.write(lambda tx: tx.gateway.delete_app(_app(tx, project_id, app_id).app_id))

    async def add_code(self, principal: Principal, app_id: str, code: str) -> tuple[AppCode, str]:
        """Give an app a code; an empty one is made up.

        Raises:
            ModelError: FSS.0400, FSS.0404, FSS.0403 beyond the quota, FSS.0409 if the code is taken.
        """
        code = code or secrets.token_hex(32)
        check_secret(code, "app_code")
        project_id, code_id = principal.project.project_id, new_hex_id()
        app_code = AppCode(code_id=code_id, app_id=app_id, sealed_code=b"", created_at=self._clock.now())

        def work(tx: Tx) -> None:
            _app(tx, project_id, app_id)
            if len(tx.gateway.codes(app_id)) >= MAX_CODES:
                raise ModelError("FSS.0403", f"The app has {MAX_CODES} codes already.")
            sealed = self._vault.seal(code, context=code_context(code_id))
            tx.gateway.add_code(replace(app_code, sealed_code=sealed), code_digest(code))

        await self._added(work, "This code is taken.")
        return app_code, code

    async def codes(self, principal: Principal, app_id: str) -> Sequence[tuple[AppCode, str]]:
        """Return the codes of an app.

        Raises:
            ModelError: FSS.0404; FSS.0500 if the key of the secrets is gone.
        """
        project_id = principal.project.project_id
        codes = await self._store.read(lambda tx: tx.gateway.codes(_app(tx, project_id, app_id).app_id))
        return [(code, self._reveal(code.sealed_code, code_context(code.code_id))) for code in codes]

    async def delete_code(self, principal: Principal, app_id: str, code_id: str) -> None:
        """Delete a code of an app.

        Raises:
            ModelError: FSS.0404.
        """
        project_id = principal.project.project_id

        def work(tx: Tx) -> None:
            if code_id not in [code.code_id for code in tx.gateway.codes(_app(tx, project_id, app_id).app_id)]:
                raise _missing("code", code_id)
            tx.gateway.delete_code(code_id)

        await self._store.write(work)

    async def grant(self, principal: Principal, app_ids: Sequence[str], api_ids: Sequence[str]) -> Sequence[Grant]:
        """Let every one of these apps call every one of these APIs; return the grants.

        Raises:
            ModelError: FSS.0400, FSS.0404, FSS.0403 beyond the quota.
        """
        if not 1 <= len(app_ids) * len(api_ids) <= MAX_GRANTED_AT_ONCE:
            raise ModelError("FSS.0400", f"A request grants 1 to {MAX_GRANTED_AT_ONCE} pairs of app and API.")
        project_id, now = principal.project.project_id, self._clock.now()

        def work(tx: Tx) -> Sequence[Grant]:
            known = {one.event_data["api_id"] for one in tx.triggers.of_type(*CODES) if one.project_id == project_id}
            for api_id in api_ids:
                if api_id not in known:
                    raise _missing("API", api_id)
            return [grant for app_id in app_ids for grant in _grant_all(tx, _app(tx, project_id, app_id), api_ids, now)]

        return await self._store.write(work)

    async def grants(self, principal: Principal, app_id: str) -> Sequence[Grant]:
        """Return the grants of an app.

        Raises:
            ModelError: FSS.0404.
        """
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: tx.gateway.grants(_app(tx, project_id, app_id).app_id))

    async def revoke(self, principal: Principal, grant_id: str) -> None:
        """Delete a grant.

        Raises:
            ModelError: FSS.0404.
        """
        project_id = principal.project.project_id

        def work(tx: Tx) -> None:
            granted = [grant.grant_id for app in tx.gateway.apps(project_id) for grant in tx.gateway.grants(app.app_id)]
            if grant_id not in granted:
                raise _missing("grant", grant_id)
            tx.gateway.delete_grant(grant_id)

        await self._store.write(work)

    async def _added(self, work: Callable[[Tx], None], taken: str) -> None:
        try:
            await self._store.write(work)
        except Duplicate as error:
            raise ModelError("FSS.0409", taken) from error

    def _reveal(self, sealed: bytes, context: str) -> str:
        try:
            return self._vault.reveal(sealed, context=context)
        except VaultError as error:
            raise ModelError("FSS.0500", str(error)) from error


def code_digest(code: str) -> str:
    """Return the form in which a code is looked up."""
    return hashlib.sha256(code.encode()).hexdigest()


def _grant_all(tx: Tx, app: App, api_ids: Sequence[str], now: float) -> Sequence[Grant]:
    for api_id in api_ids:
        tx.gateway.put_grant(Grant(grant_id=new_hex_id(), app_id=app.app_id, api_id=api_id, created_at=now))
    grants = tx.gateway.grants(app.app_id)
    if len(grants) > MAX_GRANTS:
        raise ModelError("FSS.0403", f"The app '{app.name}' may call {MAX_GRANTS} APIs already.")
    return [grant for grant in grants if grant.api_id in api_ids]


def _authorizer(tx: Tx, project_id: str, authorizer_id: str) -> Authorizer:
    for authorizer in tx.gateway.authorizers(project_id):
        if authorizer.authorizer_id == authorizer_id:
            return authorizer
    raise _missing("authorizer", authorizer_id)


def _app(tx: Tx, project_id: str, app_id: str) -> App:
    for app in tx.gateway.apps(project_id):
        if app.app_id == app_id:
            return app
    raise _missing("app", app_id)


def _missing(what: str, name: str) -> ModelError:
    return ModelError("FSS.0404", f"The {what} '{name[:80]}' does not exist.")
