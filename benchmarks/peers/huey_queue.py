"""A public durable queue, Huey on SQLite, with every task flushed to disk: how fast it takes tasks and ends them.

Tasks are enqueued by 64 threads of one process, without HTTP, and run by two threads of the same process, without
isolation: both in its favour. Prints one line of JSON.
"""

import argparse
import json
import threading
import time

from huey import SqliteHuey

CLIENTS, WORKERS = 64, 2
ENQUEUE_S, DRAIN_S = 3.0, 5.0
EVENT = {"order": 42, "customer": "c-1001", "items": [1, 2, 3]}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    huey = SqliteHuey(filename=parser.parse_args().database, fsync=True, journal_mode="wal", results=False)
    done = [0]

    @huey.task()  # type: ignore[untyped-decorator]  # the package has no types
    def hello(event: dict[str, object]) -> dict[str, object]:
        done[0] += 1
        return {"got": event}

    counts = [0] * CLIENTS
    ends_at = time.monotonic() + ENQUEUE_S

    def enqueue(number: int) -> None:
        while time.monotonic() < ends_at:
            hello(EVENT)
            counts[number] += 1

    threads = [threading.Thread(target=enqueue, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    consumer = huey.create_consumer(workers=WORKERS, worker_type="thread", initial_delay=0.001)
    began = time.monotonic()
    consumer.start()
    while done[0] < sum(counts) and time.monotonic() - began < DRAIN_S:
        time.sleep(0.01)
    took_s = time.monotonic() - began
    print(json.dumps({"enqueued_per_s": sum(counts) / ENQUEUE_S, "done_per_s": done[0] / took_s}))
    consumer.stop(graceful=False)


if __name__ == "__main__":
    main()
