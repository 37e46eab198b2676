"""The lock of the data folder."""

import os
import subprocess
import sys
import textwrap

import pytest

from funclet.store.folder import DataFolderInUse, DataFolderLock

HOLDER = textwrap.dedent(
    """
    import os, sys
    from pathlib import Path
    from funclet.store.folder import DataFolderLock

    lock = DataFolderLock.take(Path(sys.argv[1]))
    if sys.argv[2] == "forks" and os.fork() == 0:
        sys.stdout.write("forked\\n")
        sys.stdout.flush()
        sys.stdin.read()
    else:
        sys.stdout.write(f"{os.getpid()}\\n")
        sys.stdout.flush()
        if sys.argv[2] == "waits":
            sys.stdin.read()
    """
)


def start_holder(folder, how):
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_second_server_is_refused_and_told_who_has_the_folder(tmp_path):
    with start_holder(tmp_path, "waits") as holder:
        pid = int(holder.stdout.readline())

        with pytest.raises(DataFolderInUse, match=f"pid {pid}") as refused:
            DataFolderLock.take(tmp_path)
        holder.stdin.close()

    assert refused.value.pid == pid


def test_the_folder_is_free_when_its_server_was_killed(tmp_path):
    with start_holder(tmp_path, "waits") as holder:
        holder.stdout.readline()
        holder.kill()

    DataFolderLock.take(tmp_path).release()


def test_a_forked_child_that_lives_on_does_not_keep_the_folder(tmp_path):
    with start_holder(tmp_path, "forks") as holder:
        lines = {holder.stdout.readline().strip() for _ in range(2)}
        holder.wait()

        DataFolderLock.take(tmp_path).release()

        assert "forked" in lines
        holder.stdin.close()


def test_one_process_cannot_take_it_twice_and_can_after_release(tmp_path):
    lock = DataFolderLock.take(tmp_path)
    with pytest.raises(DataFolderInUse, match=str(os.getpid())):
        DataFolderLock.take(tmp_path)

    lock.release()
    lock.release()

    DataFolderLock.take(tmp_path).release()


def test_the_folder_is_made_for_its_owner_alone(tmp_path):
    DataFolderLock.take(tmp_path / "a" / "data").release()

    assert (tmp_path / "a" / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "data" / "lock").stat().st_mode & 0o777 == 0o600
