"""A dispatcher on pretended sandboxes, and what tests ask of it."""

import asyncio
import contextlib
import itertools
from dataclasses import replace
from pathlib import Path

from funclet.base.clock import SystemClock
from funclet.dataplane.dispatcher import Dispatcher, DispatcherOptions
from funclet.dataplane.launch import LaunchOptions
from funclet.metrics import Metrics
from funclet.model.function import Code, FunctionVersion, Settings
from funclet.model.invocation import Invocation
from funclet.runtimes.frames import FrameType
from funclet.runtimes.registry import Language, Registry, RuntimeSpec
from funclet.sandbox.protocol import Network
from funclet.testing.sandbox import Reply

PYTHON = RuntimeSpec(
    name="Python3.10",
    display_name="Python 3.10",
    directory="python3.10",
    language=Language(
        name="python",
        folder=Path("/nowhere"),
        arguments=("{runtime_root}/bootstrap.py", "{heap_mib}"),
        extension="py",
        default_handler="index.handler",
        default_memory_mib=128,
        default_timeout_s=3,
        sample=Path("/nowhere"),
        interpreter_links=(),
        oldest=(3, 6),
    ),
    interpreter=Path("/usr/bin/python3"),
)
JAVA = RuntimeSpec(name="Java11", display_name="Java 11", directory="java11", language=None, interpreter=None)
VERSION = FunctionVersion(
    project_id="p",
    region="r",
    package="default",
    name="hello",
    function_id="f-1",
    version="latest",
    settings=Settings(runtime="Python3.10", handler="index.handler", timeout_s=3, memory_mib=128),
    code=Code(digest="d" * 128, size=1, code_type="zip"),
    modified_at=0.0,
)
_numbers = itertools.count(1)


class NoCode:
    """Code that needs no unpacking."""

    async def hold(self, code):
        """Return a folder, and what lets go of it."""
        return Path("/nowhere"), lambda: None


def invocation(version=VERSION, payload=b"{}", **changes):
    """Return an invocation with an id of its own."""
    request_id = f"00000000-0000-0000-0000-{next(_numbers):012d}"
    return Invocation(request_id=request_id, version=version, payload=payload, **changes)


def configured(**settings):
    """Return a version with other settings."""
    return replace(VERSION, settings=replace(VERSION.settings, **settings))


@contextlib.asynccontextmanager
async def dispatcher(
    driver, *, memory_mib=2048, wait_s=0.0, idle_release_s=60.0, depth=1, clock=None, code=None, **more
):
    """A dispatcher over a driver, with what it records in `records`; instances hold `depth` requests."""
    records = []
    options = DispatcherOptions(
        memory_mib=memory_mib,
        idle_release_s=idle_release_s,
        wait_s=wait_s,
        launch=LaunchOptions(network=Network.OFF),
        **more,
    )
    python = replace(PYTHON, language=replace(PYTHON.language, depth=depth))
    registry = Registry([python, JAVA])
    subject = Dispatcher(driver, registry, code or NoCode(), clock or SystemClock(), options, records.append, Metrics())
    subject.records = records
    subject.open()
    try:
        yield subject
    finally:
        await subject.close()
        await driver.close()


def run(scenario):
    """Run a coroutine on a loop of its own."""
    asyncio.run(scenario)


def gate():
    """A behaviour whose invocations wait for `open_`."""
    opened = asyncio.Event()

    async def behaviour(kind, body):
        if kind is FrameType.INVOKE:
            await opened.wait()
        return Reply(body)

    return behaviour, opened


async def until(condition):
    """Wait until a condition holds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)
