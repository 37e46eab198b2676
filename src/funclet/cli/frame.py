"""What every command shares: the global options, exit codes, failures and messages.

Import nothing slow here: `fgs --help` pays for it. `command` makes a command
that takes the global options; commands that call the server use the one in `session`.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import click

# Words that people try for the same thing, whichever of them a group has.
_SAME = (("list", "ls"), ("get", "show", "describe"), ("delete", "rm", "remove"), ("create", "add", "new"))
# Words that are no names of functions: what they would have done is somewhere else.
_VERBS = frozenset({"set", "update", "edit", "put", "help"}.union(*_SAME))
FUNCTION_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,58}[A-Za-z0-9])?")
FUNCTION_NAME_RULE = "1 to 60 letters, digits, '_' and '-', first a letter, last no '_' or '-'."


class ExitCode(IntEnum):
    """What the exit status of `fgs` tells a script."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    CREDENTIALS = 3
    DENIED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    QUOTA = 7
    NETWORK = 8
    SERVER = 9
    FUNCTION_FAILED = 10
    PLATFORM_FAILED = 11
    ASSERTION = 12
    PACKAGING = 13
    DRIFT = 14
    INTERRUPTED = 130


class Failure(Exception):
    """The command cannot go on: what is wrong, what to do, and the exit code."""

    def __init__(
        self,
        message: str,
        *,
        exit_code: ExitCode = ExitCode.USAGE,
        hint: str = "",
        code: str = "",
        request_id: str = "",
        http_status: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.hint = hint
        self.code = code
        """Of the error table, such as `FSS.1051`; may be empty."""
        self.request_id = request_id
        self.http_status = http_status
        """0: the server was not asked."""


@dataclass(slots=True)
class Flags:
    """The global options as they were given, before or behind the name of the command."""

    given: dict[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return the value of an option; empty when it was not given."""
        return str(self.given.get(name, ""))

    def is_on(self, name: str) -> bool:
        """Return whether a switch was given."""
        return bool(self.given.get(name))

    @property
    def output(self) -> str:
        """How data is shown: as asked, else a table on a terminal and JSON elsewhere."""
        if self.is_on("table"):
            return "table"
        return self.text("output") or ("table" if sys.stdout.isatty() else "json")

    @property
    def is_json(self) -> bool:
        """Whether JSON was asked for; commands that act show text unless it was."""
        return self.text("output") == "json"

    @property
    def color(self) -> bool | None:
        """What `click.echo` is told about colours: False for none at all, None for those that the stream can show."""
        is_plain = self.is_on("no_color") or os.environ.get("NO_COLOR") or not sys.stdout.isatty()
        return False if is_plain else None

    @property
    def verbosity(self) -> int:
        """How often -v was given."""
        return int(self.given.get("verbose", 0))


OUTPUTS = ("json", "table", "wide", "name", "text")


def global_options() -> list[click.Option]:
    """Return fresh options that every command takes."""
    switches = (
        (("-q", "--quiet"), "No messages, only data and errors."),
        (("-y", "--yes"), "Do not ask."),
        (("--dry-run",), "Show what would be done (deploy, remove)."),
        (("--insecure",), "Do not check the certificate of the server."),
        (("--no-headers",), "Tables without the line of column names."),
        (("--no-color",), "No colours; the same as the variable NO_COLOR."),
        (("--table",), "The same as -o table."),
    )
    values: tuple[tuple[tuple[str, ...], str, Any], ...] = (
        (("-o", "--output"), "How data is shown; default: table on a terminal, json elsewhere.", click.Choice(OUTPUTS)),
        (("--fields",), "Members or columns to show, such as func_name,runtime.", str),
        (("-P", "--profile", "-a", "--access"), "Profile of ~/.fgs/config.toml; -a and --access mean the same.", str),
        (("--endpoint",), "Address of the server, such as http://127.0.0.1:7180.", str),
        (("--region",), "Region name.", str),
        (("--project-id", "--project"), "Project id.", str),
        (("--ak",), "Access key (better: a profile or HW_ACCESS_KEY).", str),
        (("--sk",), "Secret key (visible in the process list; better: a profile).", str),
        (("--security-token",), "Token of a temporary access key.", str),
        (("--token",), "Token of a user, instead of an access key.", str),
        (("--ca",), "File of trusted certificates.", click.Path(dir_okay=False)),
        (("--proxy",), "Proxy, as http://user:password@host:port.", str),
        (("--timeout",), "Longest wait for one answer, such as 30s; default: 90s.", str),
        (("--retries",), "How often a request that got no answer is sent again; default: 3.", click.IntRange(0, 20)),
        (("--lang",), "Language of messages; so far all are in English.", click.Choice(["en", "zh"])),
        (("-C", "--project-dir"), "Folder of the project; default: here.", click.Path(file_okay=False, exists=True)),
        (("-s", "--stage"), "Stage of fgs.yaml whose variables and profile are taken.", str),
    )
    options = [click.Option(names, is_flag=True, help=text) for names, text in switches]
    options += [click.Option(names, help=text, type=kind) for names, text, kind in values]
    options.append(click.Option(("-v", "--verbose"), count=True, help="More messages; -vvv shows requests."))
    for option in options:
        option.expose_value = False
        option.callback = _remember
        # The long name, whatever short names stand beside it.
        option.name = max(option.opts[:2], key=len).lstrip("-").replace("-", "_")
    return options


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> object:
    if value not in (None, False, 0) or (parameter.name == "retries" and value == 0):
        flags = context.ensure_object(Flags)
        flags.given[str(parameter.name)] = value
        context.color = flags.color
    return value


class FgsCommand(click.Command):
    """A command that takes the global options too; its own option of the same name wins."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        taken = {name for parameter in self.params for name in parameter.opts}
        for option in global_options():
            if max(option.opts, key=len) in taken:
                continue
            option.opts = [name for name in option.opts if name not in taken]
            option.hidden = True
            self.params.append(option)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the signature is that of click
        """Write the examples and where the global options are explained."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write_text(example)
        formatter.write_paragraph()
        formatter.write_text("Global options such as -o, -P, -v work here too: fgs --help")


class FgsGroup(click.Group):
    """Sub-commands with the verbs that people also try, and a question for typing errors."""

    def __init__(
        self,
        *args: Any,
        synonyms: Mapping[str, str] | None = None,
        elsewhere: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Make a group.

        Args:
            *args: as click takes them.
            synonyms: another word for a sub-command -> its name, beside those that every group knows.
            elsewhere: word that is no sub-command here -> the command that does what the word asks for.
            **kwargs: as click takes them.
        """
        super().__init__(*args, **kwargs)
        self.synonyms = dict(synonyms or {})
        self.elsewhere = dict(elsewhere or {})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name or synonym."""
        words = next((words for words in _SAME if cmd_name in words), ())
        names = (cmd_name, self.synonyms.get(cmd_name, ""), *words)
        return next((found for name in names if (found := super(FgsGroup, self).get_command(ctx, name))), None)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with the names that look like it."""
        is_word = bool(args) and not args[0].startswith("-") and not ctx.resilient_parsing
        if is_word and self.get_command(ctx, args[0]) is None:
            known = list(self.commands)
            guess = did_you_mean(args[0], known)
            raise Failure(
                f"There is no command '{ctx.command_path} {args[0]}'.{guess} It has: {', '.join(known)}.",
                hint=self.elsewhere.get(args[0])
                or ("" if guess else self._example_for(ctx, args[0]))
                or f"{ctx.command_path} --help",
            )
        return super().resolve_command(ctx, args)

    def _example_for(self, ctx: click.Context, word: str) -> str:
        """Return the command that shows something of a function, for those who name the function only."""
        if word in _VERBS:
            return ""
        for name in ("list", "get"):
            arguments = [p for p in getattr(self.commands.get(name), "params", ()) if isinstance(p, click.Argument)]
            if [argument.metavar for argument in arguments] == ["FUNCTION"]:
                return f"{ctx.command_path} {name} {word}"
        return ""


def did_you_mean(word: str, known: list[str]) -> str:
    """Return a question that names the likeliest words, or an empty string."""
    import difflib  # noqa: PLC0415 - only typing errors pay for it

    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""


def counted(number: int, word: str) -> str:
    """Return a number with its word in the singular or the plural: `1 alias`, `2 aliases`."""
    ending = "" if number == 1 else "es" if word.endswith("s") else "s"
    return f"{number} {word}{ending}"


def command(
    name: str, *, examples: Sequence[str], cls: type[FgsCommand] = FgsCommand, **attributes: Any
) -> Callable[[Callable[..., None]], FgsCommand]:
    """Return a decorator that makes a command with the global options and two examples in its help."""

    def decorate(function: Callable[..., None]) -> FgsCommand:
        """Make the command."""
        return click.command(name, cls=cls, examples=examples, **attributes)(function)

    return decorate


def pass_flags(function: Callable[..., None]) -> Callable[..., None]:
    """Give the command its `Flags` as first argument."""
    return click.make_pass_decorator(Flags, ensure=True)(function)


def say(text: str = "") -> None:
    """Write a line of the result to stdout."""
    click.echo(text)


def note(flags: Flags, text: str) -> None:
    """Write a message to stderr, unless the user wants it quiet."""
    if not flags.is_on("quiet"):
        click.echo(text, err=True)


def warn(flags: Flags, found: Mapping[str, Any]) -> None:
    """Write what the server warns of beside its answer, about code or runtime of a function."""
    for name in ("code_warning", "runtime_warning"):
        if found.get(name):
            note(flags, f"warning: {found[name]}")


def confirm(flags: Flags, question: str) -> None:
    """Ask before something that cannot be undone.

    Raises:
        Failure: there is nobody to ask and -y was not given.
        click.Abort: the answer was no.
    """
    if flags.is_on("yes"):
        return
    if not sys.stdin.isatty():
        raise Failure(f"{question} There is no terminal to answer on.", hint="Say yes with -y.")
    click.confirm(question, abort=True, err=True)


def parse_duration_s(text: str) -> float:
    """Read `90`, `90s`, `10m`, `2h`, `1d` or `500ms` as seconds.

    Raises:
        Failure: it is none of these.
    """
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
    number = text.rstrip("mshd")
    unit = text[len(number) :]
    if unit not in units or not number.replace(".", "", 1).isdigit():
        raise Failure(f"'{text}' is no duration.", hint="Write it like 90s, 10m, 2h or 1d.")
    return float(number) * units[unit]
