"""`fgs secret-key`: key files of a server that is stopped, on its machine."""

import os
from pathlib import Path

import click

from funclet.cli import render
from funclet.cli.frame import ExitCode, Failure, FgsGroup, Flags, command, pass_flags, say

secret_key = FgsGroup("secret-key", help="Read key files of a server on this machine.", no_args_is_help=True)


@command(
    "export",
    examples=[
        "fgs secret-key export secrets.key clear.key --command /etc/funclet/master-key",
        "fgs secret-key export temporary.key clear.key --command /usr/bin/python3 --command /etc/funclet/master.py",
    ],
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--command", "words", multiple=True, required=True, help="The secret_key_command of the server.")
@pass_flags
def export(flags: Flags, source: Path, target: Path, words: tuple[str, ...]) -> None:
    """Write the keys of a wrapped key file in the clear, into a new file that only you can read.

    The server must be stopped, or it may make a new key meanwhile.
    """
    from funclet.keyring.command import KeyCommand  # noqa: PLC0415 - the client side of fgs must not pay for the server
    from funclet.keyring.errors import VaultError  # noqa: PLC0415
    from funclet.keyring.file import KeyFile  # noqa: PLC0415

    if not os.path.isabs(words[0]):  # noqa: PTH117 - as good on a text
        raise Failure(f"--command must begin with the absolute path of a program, not '{words[0]}'.")
    if target.exists():
        raise Failure(f"{target} exists already; name a file that does not.", exit_code=ExitCode.CONFLICT)
    try:
        keys = KeyFile(source, KeyCommand(words=words)).unwrapped()
        KeyFile(target).write(keys)
    except VaultError as error:
        raise Failure(str(error), hint="docs/howto/secrets.md says what the program must do.") from error
    if flags.is_json:
        render.as_json({"file": str(target), "keys": len(keys)})
    else:
        say(f"wrote {target}, in the clear: keep it as you keep a password")


secret_key.add_command(export)
