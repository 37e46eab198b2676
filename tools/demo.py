"""The tour of `make demo`: a server on an empty folder, two functions, all ways to invoke them.

Everything goes through the public API. Prints what it does with timings, then
the address and credentials, and serves until Ctrl-C (`--once`: ends after the tour).
"""

import argparse
import base64
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from funclet.cli.archive import pack
from funclet.client import Client, Credentials, Link

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".demo"
WARM_CALLS = 100
COLD_STARTS = 10
# Between two cold starts, as between the first requests of real functions: the server starts another runtime ahead.
COLD_PAUSE_S = 0.2
PORTS = (7180, 7181)
# Name, folder, and the runtimes that its code runs on, best first.
FUNCTIONS = (
    ("hello-python", ROOT / "examples" / "hello-python", ("Python3.10", "Python3.12", "Python3.9")),
    ("hello-nodejs", ROOT / "examples" / "hello-nodejs", ("Node.js20.15", "Node.js18.15")),
)


def is_free(port: int) -> bool:
    """Tell whether a port of this machine can be used."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def start_server() -> subprocess.Popen[bytes]:
    """Start `fgs serve` on an empty data folder and wait until it answers."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "home").mkdir(parents=True)
    ports = PORTS if all(is_free(port) for port in PORTS) else (0, 0)
    command = [sys.executable, "-m", "funclet", "serve", "--data-dir", str(FOLDER / "data")]
    command += ["--port", str(ports[0]), "--gateway-port", str(ports[1])]
    # A home of its own: the demo must not change the profiles of whoever runs it.
    environment = os.environ | {"HOME": str(FOLDER / "home")}
    server = subprocess.Popen(command, env=environment)  # noqa: S603 - our own command
    deadline = time.monotonic() + 30
    while not (FOLDER / "data" / "server.json").exists():
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit("The server did not start; its messages are above.")
        time.sleep(0.05)
    return server


def connect() -> tuple[Client, dict[str, str]]:
    """Return a client with the credentials that the server has written for its first user."""
    with (FOLDER / "home" / ".fgs" / "config.toml").open("rb") as file:
        profile = tomllib.load(file)["profiles"]["local"]
    credentials = Credentials(project_id=profile["project_id"], ak=profile["ak"], sk=profile["sk"])
    return Client(profile["endpoint"], credentials, Link(retries=0)), profile


def show(step: str, text: str) -> None:
    """Print one line of the tour."""
    print(f"  {step:<34} {text}", flush=True)


def create(client: Client, name: str, runtime: str, folder: Path) -> str:
    """Create a function from a folder and return its urn."""
    answer = client.create_function(
        {
            "func_name": name,
            "package": "default",
            "runtime": runtime,
            "handler": "index.handler",
            "timeout": 10,
            "memory_size": 128,
            "code_type": "zip",
            "code_filename": "index.zip",
            "func_code": {"file": base64.b64encode(pack(folder)).decode()},
        }
    )
    return str(answer["func_urn"])


def deploy(client: Client, name: str, runtime: str, folder: Path) -> str:
    """Create a function, and show it."""
    began = time.perf_counter()
    urn = create(client, name, runtime, folder)
    show(f"create {name}", f"{runtime}, {(time.perf_counter() - began) * 1000:.1f} ms")
    return urn


def timed_invoke(client: Client, urn: str) -> tuple[float, bytes]:
    """Invoke once; return the milliseconds and the body."""
    began = time.perf_counter()
    answer = client.invoke(urn, json.dumps({"name": "Funclet"}).encode())
    return (time.perf_counter() - began) * 1000, answer.body


def invoke(client: Client, name: str, urn: str) -> None:
    """Invoke cold, then warm."""
    cold_ms, body = timed_invoke(client, urn)
    show(f"invoke {name}, cold", f"{cold_ms:.1f} ms  {body.decode()}")
    warm = sorted(timed_invoke(client, urn)[0] for _ in range(WARM_CALLS))
    p99 = warm[int(0.99 * (len(warm) - 1))]
    show(f"invoke {name}, warm", f"median {statistics.median(warm):.2f} ms, p99 {p99:.2f} ms of {WARM_CALLS}")


def start_cold(client: Client, name: str, runtime: str, folder: Path) -> None:
    """Invoke so many functions that nobody has invoked before, and delete them."""
    urns = [create(client, f"{name}-{number}", runtime, folder) for number in range(COLD_STARTS)]
    times = []
    for urn in urns:
        time.sleep(COLD_PAUSE_S)
        times.append(timed_invoke(client, urn)[0])
        client.delete_function(urn.rsplit(":", 1)[0])
    show(
        f"first requests of {COLD_STARTS} functions",
        f"median {statistics.median(times):.1f} ms, slowest {max(times):.1f} ms",
    )


def invoke_async(client: Client, name: str, urn: str) -> None:
    """Hand over an event and follow it to its end."""
    began = time.perf_counter()
    request_id = client.invoke_async(urn, b'{"name": "later"}')
    accepted_ms = (time.perf_counter() - began) * 1000
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        record = client.async_record(urn, request_id) or {"status": "WAIT"}
        status = record["status"]
        if status not in ("WAIT", "RUNNING"):
            total_ms = (time.perf_counter() - began) * 1000
            show(f"invoke {name}, asynchronous", f"202 in {accepted_ms:.1f} ms, {status} after {total_ms:.1f} ms")
            if status != "SUCCESS":
                sys.exit(f"The asynchronous request ended as {status}.")
            return
        time.sleep(0.005)
    sys.exit("The asynchronous request did not end within 30 s.")


def runnable(client: Client) -> frozenset[str]:
    """Return the runtimes that have an interpreter on this machine."""
    rows = client.send("GET", "/fgs/runtimetypes")
    return frozenset(str(row["type"]) for row in rows if row["is_runnable"])


def tour(client: Client) -> Sequence[str]:
    """Deploy the functions and invoke them in every way; return the names of those that could be."""
    print("\nA tour through the public API:", flush=True)
    present = runnable(client)
    shown = []
    for name, folder, wanted in FUNCTIONS:
        runtime = next((runtime for runtime in wanted if runtime in present), None)
        if runtime is None:
            show(f"{name} is left out", f"no interpreter for {', '.join(wanted)}; fgs doctor says more")
            continue
        urn = deploy(client, name, runtime, folder)
        invoke(client, name, urn)
        start_cold(client, name, runtime, folder)
        invoke_async(client, name, urn)
        shown.append(name)
    return shown


def main() -> int:
    """Run the tour; return the exit status."""
    parser = argparse.ArgumentParser(description="Start a server, deploy two functions, invoke them.")
    parser.add_argument("--once", action="store_true", help="end after the tour")
    once = parser.parse_args().once
    server = start_server()
    missed = 0
    try:
        client, profile = connect()
        shown = tour(client)
        client.close()
        missed = int(len(shown) < len(FUNCTIONS))
        if once:
            return stop(server) or missed
        print(
            "\nThe server goes on until Ctrl-C. In another terminal:\n"
            f"  export FGS_ENDPOINT={profile['endpoint']} FGS_REGION={profile['region']}"
            f" FGS_PROJECT_ID={profile['project_id']}\n"
            f"  export HW_ACCESS_KEY={profile['ak']} HW_SECRET_KEY={profile['sk']}\n"
            f'  {Path(sys.executable).parent / "fgs"} invoke {(shown or ["NAME"])[0]} -d \'{{"name": "you"}}\'',
            flush=True,
        )
        return server.wait() or missed
    except KeyboardInterrupt:
        # The terminal has sent the signal to the server too.
        return server.wait() or missed
    except BaseException:
        stop(server)
        raise


def stop(server: subprocess.Popen[bytes]) -> int:
    """End the server in an orderly way; return its exit status."""
    server.send_signal(signal.SIGTERM)
    return server.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(main())
