"""`fgs doctor`: what this machine can do for functions, and what to do about the rest."""

import os
import shutil
from dataclasses import asdict, dataclass

import click

from funclet import config
from funclet.cli import render
from funclet.cli.frame import ExitCode, Flags, command, pass_flags, say


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    area: str
    name: str
    ok: bool
    detail: str


@command("doctor", examples=["fgs doctor", "sudo fgs doctor -o json"])
@pass_flags
def doctor(flags: Flags) -> None:
    """Check whether this machine can run functions, and how well it can confine them.

    Exit code 0: everything is there; 1: something is missing, and the report says what to do.
    """
    findings = [*_isolation(), *_file_servers(), *_processes(), *_runtimes(), *_space()]
    if flags.is_json:
        render.as_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    if not all(finding.ok for finding in findings):
        click.get_current_context().exit(ExitCode.UNEXPECTED)


def _isolation() -> list[Finding]:
    from funclet.sandbox.sandboxd.hostcheck import check_isolation  # noqa: PLC0415 - only this command needs it
    from funclet.sandbox.sandboxd.settings import SandboxdSettings  # noqa: PLC0415
    from funclet.server import missing_for_isolation  # noqa: PLC0415

    missing = missing_for_isolation()
    level = "process: functions are NOT confined" if missing else "full" if os.geteuid() == 0 else "rootless"
    found = [Finding(area="isolation", name="level", ok=not missing, detail=level)]
    checks = check_isolation(SandboxdSettings(allowed_folders=()))
    return found + [Finding(area="isolation", name=check.name, ok=check.ok, detail=check.detail) for check in checks]


def _file_servers() -> list[Finding]:
    from funclet.sandbox import native  # noqa: PLC0415 - as above
    from funclet.sandbox.sandboxd import mounter  # noqa: PLC0415

    if os.geteuid() != 0 or not native.is_available():
        return []
    # Only who has exports in the inventory needs it.
    found = "can be mounted" if mounter.has_nfs() else f"{mounter.NO_NFS}; needed for exports in the inventory only"
    return [Finding(area="mounts", name="NFS", ok=True, detail=found)]


def _processes() -> list[Finding]:
    from funclet.cli.serve import processes_of  # noqa: PLC0415 - as above

    count = processes_of(config.load({}, os.environ))
    if count == 1:
        return []
    return [Finding(area="processes", name="data-plane processes", ok=True, detail=str(count))]


def _runtimes() -> list[Finding]:
    from funclet.server import load_registry  # noqa: PLC0415 - as above

    settings = config.load({}, os.environ)
    found = []
    for runtime in load_registry(settings).all():
        if runtime.language is None:
            continue
        where = f"{runtime.interpreter} ({runtime.interpreter_version})" if runtime.interpreter else "none"
        note = f"; {runtime.note}" if runtime.note else ""
        # A name that waits for the operator's word is not a fault of the machine.
        is_optional = runtime.note.startswith("only if")
        found.append(
            Finding(
                area="runtime",
                name=runtime.name,
                ok=runtime.interpreter is not None or is_optional,
                detail=where + note,
            )
        )
    return found


def _space() -> list[Finding]:
    folder = config.load({}, os.environ).data_folder
    while not folder.exists():
        folder = folder.parent
    free_mib = shutil.disk_usage(folder).free // (1024 * 1024)
    enough = free_mib >= 1024  # noqa: PLR2004 - a package may have 1.5 GB unpacked
    advice = "" if enough else "; at least 1 GiB is wanted: choose another folder with --data-dir"
    return [Finding(area="disk", name=str(folder), ok=enough, detail=f"{free_mib} MiB free{advice}")]


def _show(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    area = ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            say(click.style(area, bold=True))
        mark = click.style("ok     ", fg="green") if finding.ok else click.style("missing", fg="red")
        say(f"  {mark}  {finding.name:<{width}}  {finding.detail}")
