"""`fgs explain` (error codes) and `fgs completion` (scripts for shells). Both work without a server."""

import click
from click.shell_completion import get_completion_class

from funclet.cli import frame, hints, render
from funclet.cli.frame import ExitCode, Failure, Flags, did_you_mean, pass_flags, say
from funclet.model.errors import TABLE


@frame.command("explain", examples=("fgs explain FSS.1066", "fgs explain 1051 -o json"))
@click.argument("code", required=False)
@pass_flags
def explain(flags: Flags, code: str | None) -> None:
    """Say what an error code means and what to do; without a code list them all."""
    if code is None:
        found = [{"code": row.code, "status": row.status, "meaning": row.meaning} for row in TABLE.values()]
        render.rows(flags, found, columns=("code", "status", "meaning"))
        return
    name = code.upper() if "." in code else f"FSS.{code}"
    row = TABLE.get(name)
    if row is None:
        message = f"The code '{code}' is not known.{did_you_mean(name, list(TABLE))}"
        raise Failure(message, exit_code=ExitCode.NOT_FOUND, hint="fgs explain lists them.")
    document = {
        "code": row.code,
        "http_status": row.status,
        "meaning": row.meaning,
        "remark": hints.REMARKS.get(name, ""),
        "hint": hints.HINTS.get(name, ""),
    }
    render.item(flags, document, columns=tuple(document))


@frame.command("completion", examples=('eval "$(fgs completion bash)"', "fgs completion fish | source"))
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete commands, options and names of functions."""
    kind = get_completion_class(shell)
    if kind is None:
        raise Failure(f"There is no completion for '{shell}'.")
    say(kind(context.find_root().command, {}, "fgs", "_FGS_COMPLETE").source())
