"""What can be wrong with keys and with what they seal."""


class VaultError(Exception):
    """A key file or a sealed secret cannot be read; the message holds no secret."""


class KeyCommandFailed(VaultError):
    """The program that wraps keys did not do so. Nothing has changed, and the message says what to look at."""
