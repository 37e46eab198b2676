"""The key files of a server, and its users, their permissions and the audit log put together."""

from collections.abc import Callable
from dataclasses import dataclass

from funclet.api.auth import Authenticator
from funclet.api.traces import Tracer
from funclet.base.clock import SystemClock
from funclet.config import ANY_NETWORK, Settings
from funclet.keyring.command import KeyCommand
from funclet.keyring.shared import SharedKeys
from funclet.outside.guard import Guard, parse_networks
from funclet.outside.issuer import Issuer
from funclet.outside.outgoing import Outgoing
from funclet.services.agencies import AgencyService
from funclet.services.audit import AuditService
from funclet.services.federation import Federation, FederationService
from funclet.services.iam import IamService
from funclet.services.identity import IdentityService
from funclet.services.policies import PolicyService
from funclet.services.projects import ProjectService
from funclet.services.temporary import TemporaryKeys
from funclet.store.protocol import Store
from funclet.vault import KeySource, Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The key files of a server."""

    vault: Vault
    """Seals secrets at rest."""
    temporary: TemporaryKeys

    @classmethod
    def open(cls, settings: Settings, source: KeySource, vault: Vault, clock: SystemClock) -> "Keys":
        """Read the other file, or make it; blocks. `vault` is the one of the store, opened from `source`.

        Raises:
            VaultError, OSError: it cannot be read.
        """
        # Apart, so that the key of the vault can be replaced while temporary keys are in use.
        temporary = Vault.open(source.beside(settings.data_folder / "temporary.key"))
        return cls(vault=vault, temporary=TemporaryKeys(temporary, clock))


def key_source(settings: Settings, shared: SharedKeys | None, *, follows: bool = False) -> KeySource:
    """Return where a process of the server has the key of all secrets from."""
    words = settings.secret_key_command
    return KeySource(
        path=settings.secret_key_path,
        command=KeyCommand(words=words) if words else None,
        shared=shared,
        follows=follows,
    )


def authenticator_of(store: Store, clock: SystemClock, keys: Keys) -> Authenticator:
    """Return what tells who calls."""
    return Authenticator(store, clock, vault=keys.vault, temporary=keys.temporary)


class People:
    """Users and their permissions, and the audit log, of process 0."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: SystemClock,
        keys: Keys,
        *,
        operator_project_id: str,
        on_change: Callable[[], None],
    ) -> None:
        self.identity = IdentityService(store, clock, region=settings.region)
        self.iam = IamService(store, clock, keys.vault, on_change=on_change)
        self.policies = PolicyService(store, clock, on_change=on_change)
        self.projects = ProjectService(store, region=settings.region, on_change=on_change)
        self.agencies = AgencyService(
            store, clock, keys.temporary, on_change=on_change, must_exist=settings.agencies == "existing"
        )
        federation = Federation(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            group_claim=settings.oidc_group_claim,
            name_claim=settings.oidc_name_claim,
            groups=settings.oidc_groups,
        )
        # The operator has named the issuer, so it may be anywhere.
        outgoing = Outgoing(Guard(parse_networks((ANY_NETWORK,)), setting="oidc_issuer"))
        issuer = Issuer(settings.oidc_issuer, outgoing, clock)
        self.federation = FederationService(self.identity, clock, federation, issuer)
        self.audit = AuditService(
            store,
            clock,
            days=settings.audit_days,
            rows=settings.audit_rows,
            operator_project_id=operator_project_id,
        )
        self.tracer = Tracer(self.audit, clock)
