"""What commands that call the server share: who calls, the client, and how functions are named.

`command` makes such a command; `Session` is what it works with.
"""

import difflib
import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
from click.shell_completion import CompletionItem

from funclet.cli import frame, profiles
from funclet.cli.frame import ExitCode, Failure, Flags, note, parse_duration_s
from funclet.cli.hints import HINTS
from funclet.client import ApiError, Client, ClientError, Credentials, Exchange, Link, NetworkError

T = TypeVar("T")
DEFAULT_APP = "default"
MISSING_FUNCTION = frozenset({"FSS.1051", "FSS.0404"})
MISSING_VERSION = "FSS.1052"
MISSING_ALIAS = "FSS.1053"
_TRACE_VERBOSITY = 3
_MAX_GUESSES = 3
_TRACE_CHARACTERS = 2000
_SECRET_WORDS = ("secret", "password", "token", "authorization", "encrypted", "user_data", "credential")

# Setting: variables of the environment that give it, strongest first (cli.md 2.1).
_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "profile": ("FGS_PROFILE", "HW_PROFILE"),
    "endpoint": ("FGS_ENDPOINT",),
    "region": ("FGS_REGION", "HW_REGION_NAME"),
    "project_id": ("FGS_PROJECT_ID", "HW_PROJECT_ID", "HUAWEICLOUD_SDK_PROJECT_ID"),
    "ak": ("HW_ACCESS_KEY", "HUAWEICLOUD_SDK_AK"),
    "sk": ("HW_SECRET_KEY", "HUAWEICLOUD_SDK_SK"),
    "security_token": ("HW_SECURITY_TOKEN", "HUAWEICLOUD_SDK_SECURITY_TOKEN"),
    "token": ("FGS_TOKEN",),
    "ca": ("FGS_CA",),
    "insecure": ("HW_INSECURE",),
}
_EXIT_OF_STATUS: Mapping[int, ExitCode] = {
    401: ExitCode.CREDENTIALS,
    403: ExitCode.DENIED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    424: ExitCode.CONFLICT,
    426: ExitCode.CONFLICT,
    428: ExitCode.CONFLICT,
    429: ExitCode.QUOTA,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A function, and perhaps one of its versions or aliases, as the user named it."""

    name: str
    app: str = ""
    """Empty: the user did not say."""
    qualifier: str = ""
    """A version, `!alias`, or empty."""

    def urn(self, project_id: str) -> str:
        """Return a urn that the server takes; its short form, since the server knows its region."""
        parts = [project_id, self.app or DEFAULT_APP, self.name, self.qualifier]
        return ":".join(part for part in parts if part)

    def __str__(self) -> str:
        app = f"{self.app}/" if self.app not in ("", DEFAULT_APP) else ""
        return f"{app}{self.name}{':' if self.qualifier else ''}{self.qualifier}"


def parse_address(text: str) -> Address:
    """Read `name`, `app/name`, `name:version`, `name:!alias` or a urn.

    Raises:
        Failure: it is none of these.
    """
    fields = text.split(":")
    full, short = 7, 4
    if text.startswith("urn:fss:") and len(fields) in (full, full + 1):
        return Address(app=fields[5], name=fields[6], qualifier=":".join(fields[7:]))
    if len(fields) in (short, short - 1):
        return Address(app=fields[1], name=fields[2], qualifier=":".join(fields[3:]))
    app, slash, rest = text.rpartition("/")
    name, colon, qualifier = rest.partition(":")
    is_wrong_app = (slash and not app) or "/" in app or ":" in app
    if not name or ":" in qualifier or is_wrong_app or (colon and qualifier in ("", "!")):
        hint = "Write name, app/name, name:version, name:!alias or a urn."
        raise Failure(f"'{text}' does not name a function.", hint=hint)
    return Address(app=app, name=name, qualifier=qualifier)


class Session:
    """The settings of one command line, and the client that they lead to."""

    def __init__(self, flags: Flags, environ: Mapping[str, str]) -> None:
        self.flags = flags
        self._environ = environ
        self._clients: list[Client] = []
        self.subject = ""
        """The function that the command is about, for hints."""
        self.settings = self._resolve()

    @functools.cached_property
    def client(self) -> Client:
        """The client of this command.

        Raises:
            Failure: there are no credentials, no project, or no address.
        """
        return self.another_client()

    def another_client(self, *, retries: int | None = None) -> Client:
        """Return a client of its own, for a thread; closed together with the session."""
        _check_address(self.settings.get("endpoint", ""))
        client = self._connect(self.link if retries is None else replace(self.link, retries=retries))
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.close()

    @property
    def link(self) -> Link:
        """How the server is reached, by the flags and the profile."""
        endpoint = self.settings.get("endpoint", "")
        timeout_s = parse_duration_s(self.flags.text("timeout") or "90s")
        if timeout_s <= 0:
            raise Failure("--timeout must be longer than 0.", hint="Write it like 90s, 10m or 2h.")
        return Link(
            timeout_s=timeout_s,
            retries=int(self.flags.given.get("retries", 3)),
            ca=self.settings.get("ca", ""),
            insecure=self.settings.get("insecure", "").lower() in ("true", "1", "yes"),
            proxy=self.settings.get("proxy") or proxy_for(endpoint, self._environ),
        )

    def urn(self, address: Address) -> str:
        """Return the urn of a function."""
        return address.urn(self.client.credentials.project_id)

    def at(self, address: Address, act: Callable[[str], T], *, follow_alias: bool = True) -> T:
        """Carry out `act` with the urn of a function.

        When the function is not in the default app, the app that has it is looked up; when there is no
        version of that name, an alias of that name is tried, if `follow_alias`.

        Raises:
            ApiError: the server refused; says which function was perhaps meant.
            Failure: several apps have the function.
        """
        self.subject = address.name
        try:
            return act(self.urn(address))
        except ApiError as error:
            can_be_alias = address.qualifier not in ("", "latest") and not address.qualifier.startswith("!")
            if error.code == MISSING_VERSION and can_be_alias and follow_alias:
                return self._at_alias(address, act, error)
            if error.code not in MISSING_FUNCTION:
                raise
            other = self._elsewhere(address, error)
        return self.at(other, act, follow_alias=follow_alias)

    def _at_alias(self, address: Address, act: Callable[[str], T], refusal: ApiError) -> T:
        try:
            return act(self.urn(replace(address, qualifier=f"!{address.qualifier}")))
        except ApiError as error:
            if error.code != MISSING_ALIAS:
                raise
            message = f"{address.name} has no version or alias '{address.qualifier}'"
            raise _reworded(refusal, message) from error

    def existing(self, urn: str) -> str:
        """Return the urn of a function if there is one; to be used with `at`."""
        self.client.function_config(urn)
        return urn

    def _elsewhere(self, address: Address, refusal: ApiError) -> Address:
        """Return where a function is that is not where it was looked for; else raise with a guess."""
        try:
            rows = self.client.list_functions()
        except ClientError:
            # This call was only to help: what matters is the refusal.
            raise refusal from None
        known = [Address(app=str(row.get("package")), name=str(row.get("func_name"))) for row in rows]
        apps = sorted({place.app for place in known if place.name == address.name} - {DEFAULT_APP})
        if address.app or not apps:
            raise _reworded(refusal, refusal.message + _guess(address, known)) from refusal
        if len(apps) > 1:
            names = ", ".join(f"{app}/{address.name}" for app in apps)
            raise Failure(f"Several apps have a function '{address.name}'.", hint=f"Name one of: {names}")
        return replace(address, app=apps[0])

    def _resolve(self) -> dict[str, str]:
        given = {**self._from_environment(), **self._from_flags()}
        known = profiles.load(profiles.path_of(self._environ))
        wanted = given.get("profile") or self._profile_of_project()
        name = wanted or known.current
        if wanted and wanted not in known.table:
            have = ", ".join(known.table) or "none"
            raise Failure(
                f"There is no profile '{wanted}' (there are: {have}).",
                exit_code=ExitCode.CREDENTIALS,
                hint=f"fgs configure --profile {wanted}",
            )
        lent = dict(known.table.get(name, {}))
        if given.get("endpoint", lent.get("endpoint")) != lent.get("endpoint"):
            # Unlike a signature, a token would give its power to whoever answers at the other address.
            lent.pop("token", None)
        return {"profile": name, **lent, **given}

    def _from_flags(self) -> dict[str, str]:
        found = {key: self.flags.text(key) for key in (*_VARIABLES, "proxy") if self.flags.text(key)}
        return found | ({"insecure": "true"} if self.flags.is_on("insecure") else {})

    def _from_environment(self) -> dict[str, str]:
        found = {}
        for key, names in _VARIABLES.items():
            value = next((self._environ[name] for name in names if self._environ.get(name)), "")
            if value:
                found[key] = value
        return found

    def _profile_of_project(self) -> str:
        """Return the profile that fgs.yaml asks for; it never gives addresses or keys, which a checkout must not."""
        from funclet.cli import project  # noqa: PLC0415 - the YAML parser is slow to import, most calls need none

        path = project.discover(Path(self.flags.text("project_dir") or "."))
        return project.profile_of(path, stage=self.flags.text("stage")) if path else ""

    def _connect(self, link: Link) -> Client:
        found = self.settings
        endpoint = found.get("endpoint", "")
        if not endpoint:
            raise Failure(
                "No server is named.",
                exit_code=ExitCode.CREDENTIALS,
                hint="Start one with 'fgs serve' (it writes a profile), or run 'fgs configure'.",
            )
        if not found.get("token") and not (found.get("ak") and found.get("sk")):
            raise Failure(
                f"There are no credentials for {endpoint}.",
                exit_code=ExitCode.CREDENTIALS,
                hint="Run 'fgs configure', or set HW_ACCESS_KEY and HW_SECRET_KEY.",
            )
        credentials = Credentials(
            project_id=found.get("project_id", ""),
            ak=found.get("ak", ""),
            sk=found.get("sk", ""),
            security_token=found.get("security_token", ""),
            token=found.get("token", ""),
        )
        observe = self._trace if self.flags.verbosity >= _TRACE_VERBOSITY else None
        client = Client(endpoint, credentials, link, observe=observe)
        if not credentials.project_id:
            project_id = str(client.find_project(found.get("region", ""))["id"])
            client.credentials = replace(credentials, project_id=project_id)
            self.settings["project_id"] = project_id
        return client

    def _trace(self, seen: Exchange) -> None:
        host = urlsplit(self.settings["endpoint"]).netloc
        note(self.flags, f"> {seen.method} {host} {seen.url}")
        for name, value in seen.headers.items():
            note(self.flags, f"> {name}: {'***' if _is_secret(name) else value}")
        if seen.body:
            note(self.flags, f"> {_masked_body(seen.body)}")
        note(self.flags, f"< {seen.status} in {seen.duration_s * 1000:.1f} ms")


def _reworded(refusal: ApiError, message: str) -> ApiError:
    return ApiError(status=refusal.status, code=refusal.code, message=message, request_id=refusal.request_id)


def _guess(address: Address, known: Sequence[Address]) -> str:
    """Return a question that names the functions whose names are close; empty if the function is there."""
    if any((place.app, place.name) == (address.app or DEFAULT_APP, address.name) for place in known):
        return ""
    # Compared without the app, so that one typing error in a short name still counts as close.
    close = difflib.get_close_matches(address.name, {place.name for place in known}, n=_MAX_GUESSES)
    names = sorted(str(place) for place in known if place.name in close)[:_MAX_GUESSES]
    return f" Did you mean {' or '.join(repr(name) for name in names)}?" if names else ""


def _check_address(endpoint: str) -> None:
    try:
        _ = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").port
    except ValueError as error:
        raise Failure(f"'{endpoint}' is no address: {error}.", hint="Write it like http://127.0.0.1:7180.") from error


def proxy_for(endpoint: str, environ: Mapping[str, str]) -> str:
    """Return the proxy that the environment names for `endpoint`; empty for none.

    NO_PROXY lists hosts, domains or `*`; the own machine is never reached through a proxy.
    """
    url = urlsplit(endpoint)
    host = (url.hostname or "").lower()
    exempt = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if host in ("localhost", "::1") or host.startswith("127."):
        return ""
    for entry in (part.strip().lower() for part in exempt.split(",")):
        name = entry.partition(":")[0].lstrip(".")
        if entry == "*" or (name and (host == name or host.endswith("." + name))):
            return ""
    variable = f"{url.scheme}_proxy"
    return environ.get(variable.upper()) or environ.get(variable) or ""


def failure_of(error: ClientError, *, subject: str = "") -> Failure:
    """Turn what the client raised into a message with a hint and an exit code.

    Args:
        error: what the client raised.
        subject: the function that the command is about; stands in the hint.
    """
    if isinstance(error, ApiError):
        hint = HINTS.get(error.code, "fgs configure" if error.status == HTTPStatus.UNAUTHORIZED else "")
        if subject and error.code in MISSING_FUNCTION:
            hint = HINTS["FSS.1051"]
        return Failure(
            error.message,
            exit_code=exit_of(error.status, error.code),
            hint=hint.replace("NAME", subject or "NAME"),
            code=error.code,
            request_id=error.request_id,
            http_status=error.status,
        )
    hint = error.hint if isinstance(error, NetworkError) else ""
    return Failure(str(error), exit_code=ExitCode.NETWORK, hint=hint)


def exit_of(status: int, code: str) -> ExitCode:
    """Return the exit code for a refusal of the API."""
    if code.startswith("FSS.104"):
        return ExitCode.QUOTA
    if status in _EXIT_OF_STATUS:
        return _EXIT_OF_STATUS[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ExitCode.SERVER
    return ExitCode.USAGE if status >= HTTPStatus.BAD_REQUEST else ExitCode.UNEXPECTED


def command(name: str, *, examples: Sequence[str], **attributes: Any) -> Callable[[Callable[..., None]], click.Command]:
    """Return a decorator that makes a command whose first argument is a `Session`, closed after it."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def with_session(*args: Any, **options: Any) -> None:
            context = click.get_current_context()
            session = Session(context.ensure_object(Flags), os.environ)
            try:
                function(session, *args, **options)
            except ClientError as error:
                raise failure_of(error, subject=session.subject) from error
            finally:
                session.close()

        return frame.command(name, examples=examples, **attributes)(with_session)

    return decorate


class FunctionName(click.ParamType[Address]):
    """A parameter that names a function; the shell completes names that exist."""

    name = "function"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:  # noqa: ARG002 - the signature is that of click
        """Read the name."""
        return value if isinstance(value, Address) else parse_address(str(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - the signature is that of click
        """Offer the names of functions; nothing when the server cannot be asked."""
        from funclet.cli.names import known_names  # noqa: PLC0415 - only completion needs the cache

        return [CompletionItem(name) for name in known_names(ctx.ensure_object(Flags)) if name.startswith(incomplete)]


def function_argument() -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the argument that names a function, as `address`."""
    return click.argument("address", metavar="FUNCTION", type=FunctionName())


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS) or name.lower() in ("sk", "file")


def _masked_body(body: bytes) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return f"{len(body)} bytes"
    return json.dumps(_masked(found), ensure_ascii=False)[:_TRACE_CHARACTERS]


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "***" if _is_secret(key) and value[key] else _masked(value[key]) for key in value}
    return [_masked(entry) for entry in value] if isinstance(value, list) else value
