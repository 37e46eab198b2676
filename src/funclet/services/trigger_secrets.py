"""Secrets in the data of triggers: sealed at rest, left out of answers unless the operator wants them there."""

from collections.abc import Sequence
from dataclasses import replace

from funclet.model.errors import ModelError
from funclet.model.trigger import Trigger, secret_context
from funclet.triggers.protocol import EventData
from funclet.vault import Vault, VaultError


class TriggerSecrets:
    """Moves secret members between the data of a trigger and its sealed part."""

    def __init__(self, vault: Vault, *, echoes: bool) -> None:
        self._vault = vault
        self._echoes = echoes

    def seal(self, trigger: Trigger, members: Sequence[str]) -> Trigger:
        """Return a trigger whose secret members are sealed; empty ones stay in the data."""
        data = dict(trigger.event_data)
        sealed = {}
        for name in members:
            if data.get(name):
                context = secret_context(trigger.trigger_id, name)
                sealed[name] = self._vault.seal(str(data.pop(name)), context=context)
        return replace(trigger, event_data=data, sealed=sealed) if members else trigger

    def revealed(self, trigger: Trigger) -> EventData:
        """Return the data with its secrets.

        Raises:
            ModelError: FSS.0500 if the key is gone.
        """
        try:
            return {
                **trigger.event_data,
                **{
                    name: self._vault.reveal(sealed, context=secret_context(trigger.trigger_id, name))
                    for name, sealed in trigger.sealed.items()
                },
            }
        except VaultError as error:
            message = f"A secret of trigger {trigger.trigger_id} cannot be read: {error} Send it again."
            raise ModelError("FSS.0500", message) from error

    def shown(self, trigger: Trigger) -> EventData:
        """Return the data as clients may see it."""
        return self.revealed(trigger) if self._echoes else trigger.event_data
