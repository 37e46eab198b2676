"""The command `fgs`: finds the sub-command, runs it, and turns failures into exit codes.

Sub-commands are named in tables and imported when they are called, so that help
and completion stay fast. `main` is the entry point.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click
from click.exceptions import NoArgsIsHelpError
from click.shell_completion import CompletionItem

from funclet import __version__
from funclet.cli import render
from funclet.cli.frame import ExitCode, Failure, Flags, did_you_mean, global_options

# Name: (module, attribute, line of help), in the order of the help page.
COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "serve": ("serve", "serve", "Start a server on this machine."),
    "init": ("init", "init", "Start a project from a template."),
    "up": ("deploy", "up", "Create or update everything in the project (the same as deploy)."),
    "deploy": ("deploy", "deploy", "Create or update functions, versions, aliases and triggers."),
    "plan": ("deploy", "plan", "Show what deploy would change."),
    "invoke": ("invoke", "invoke", "Run a function and show its answer."),
    "logs": ("logs", "logs", "Show or follow the log of a function."),
    "remove": ("remove", "remove", "Delete functions, versions, aliases or triggers."),
    "function": ("function", "function", "List, show, change and delete functions."),
    "version": ("version", "version", "List, publish and delete versions of a function."),
    "alias": ("alias", "alias", "List, create, update and delete aliases."),
    "trigger": ("trigger", "trigger", "List, create, update and delete triggers."),
    "dependency": ("dependency", "dependency", "List, show, create, build and delete dependencies."),
    "app": ("app", "app", "Make applications from templates."),
    "connection": ("connection", "connection", "Connect object stores and brokers to destinations."),
    "iam": ("iam", "iam", "Manage users, groups, keys, policies and agencies."),
    "audit": ("audit", "audit", "Show who did what."),
    "async": ("asynchronous", "asynchronous", "List, show, cancel and replay asynchronous requests."),
    "api": ("api", "api", "Call any operation of the API by its name."),
    "explain": ("explain", "explain", "Explain an error code."),
    "configure": ("configure", "configure", "Write, list and choose profiles."),
    "whoami": ("configure", "whoami", "Show who you are to which server."),
    "doctor": ("doctor", "doctor", "Check whether this machine can run functions."),
    "secret-key": ("secret_key", "secret_key", "Read key files of a server on this machine."),
    "completion": ("explain", "completion", "Print the completion script of a shell."),
}
ALIASES: Mapping[str, tuple[str, ...]] = {
    "f": ("function",),
    "v": ("version",),
    "t": ("trigger",),
    "dep": ("dependency",),
    "rm": ("remove",),
    "ls": ("function", "list"),
    "describe": ("function", "get"),
    "publish": ("version", "publish"),
}


class RootGroup(click.Group):
    """Finds commands in the tables without importing those that are not called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is that of click
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None when there is no such."""
        names = ALIASES.get(cmd_name, (cmd_name,))
        if names[0] not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[names[0]]
        found = getattr(importlib.import_module(f"funclet.cli.{module}"), attribute)
        for name in names[1:]:
            found = found.get_command(ctx, name)
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the signature is that of click
        """Write the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])
        with formatter.section("Short names"):
            formatter.write_dl([(name, " ".join(names)) for name, names in ALIASES.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with the names that look like it."""
        is_word = bool(args) and not args[0].startswith("-") and not ctx.resilient_parsing
        if is_word and args[0] not in COMMANDS and args[0] not in ALIASES:
            ctx.fail(f"There is no command '{args[0]}'.{did_you_mean(args[0], [*COMMANDS, *ALIASES])}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names of commands from the table."""
        names = [CompletionItem(n, help=text) for n, (_, _, text) in COMMANDS.items() if n.startswith(incomplete)]
        return names or click.Command.shell_complete(self, ctx, incomplete)


@click.pass_context
def _start(context: click.Context) -> None:
    context.ensure_object(Flags)


def build() -> click.Group:
    """Return the root command."""
    return RootGroup(
        "fgs",
        callback=_start,
        params=[*global_options(), _version_option()],
        help="Write, deploy, run and watch functions on a Funclet server.",
        epilog="Exit codes: 2 usage, 3 credentials, 4 denied, 5 not found, 6 conflict, 7 quota, 8 network, 9 server, "
        "10 function failed, 11 platform failed, 12 assertion, 13 packaging, 14 drift, 130 interrupted.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )


def _version_option() -> click.Option:
    def show(context: click.Context, _: click.Parameter, value: bool) -> None:
        """Print the version and end."""
        if value:
            click.echo(f"fgs {__version__}")
            context.exit()

    return click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="Print the version."
    )


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    flags = Flags()
    try:
        result = build().main(arguments, prog_name="fgs", standalone_mode=False, obj=flags, color=flags.color)
    except Failure as error:
        render.failure(flags, error)
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        return _usage(flags, error)
    except OSError as error:
        return _failed_here(flags, error)
    return result if isinstance(result, int) else ExitCode.OK


def _failed_here(flags: Flags, error: OSError) -> int:
    """Tell of a file that cannot be read or written, or of an output that takes no more."""
    if error.filename is None:
        # What is left in the buffer cannot be written either; without this Python would say so at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    place = f"The file {error.filename}" if error.filename else "The output"
    reason = error.strerror or type(error).__name__
    render.failure(flags, Failure(f"{place} cannot be read or written: {reason}."))
    return ExitCode.UNEXPECTED


def _usage(flags: Flags, error: click.ClickException) -> int:
    hint, message = "", error.format_message()
    context = getattr(error, "ctx", None)
    if isinstance(error, NoArgsIsHelpError):
        click.echo(message, err=True)
        return ExitCode.USAGE
    if context is not None:
        hint = f"{context.command_path} --help"
    # One line: click lists choices one below the other.
    render.failure(flags, Failure(" ".join(message.split()), hint=hint))
    return ExitCode.USAGE


def main() -> Any:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))
