"""Slots: what can be prepared before anybody asks for a sandbox.

A slot is a user id, a network namespace and a disk for `/tmp`. `Slots.take`
hands out a prepared one or makes it on the spot; `refill` is called when
sandboxd has nothing else to do. Most functions neither send nor store anything:
what comes back from them is as good as new.
"""

import contextlib
import fcntl
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from funclet.sandbox.protocol import Network, SandboxError
from funclet.sandbox.sandboxd.network import NetNamespace, Networks
from funclet.sandbox.sandboxd.settings import SandboxdSettings
from funclet.sandbox.sandboxd.tmpdisk import TmpDisk, TmpDisks

_CLAIMS = Path("/run/funclet")
_MAX_RANGES = 64
COMMON_TMP_MIB = 512
"""The size nearly every function has."""
_MOST_SPARE = 64
"""Of what came back untouched, no more is kept than this."""


@dataclass(slots=True, kw_only=True)
class Slot:
    """Held by one instance from before its start until after its end."""

    user_id: int
    network: Network
    namespace: NetNamespace
    tmp_mib: int
    disk: TmpDisk | None
    """None: `/tmp` is a tmpfs, or nothing here holds the disk any more."""
    has_child: bool = False

    def child_started(self) -> None:
        """Let go of the mount, which is the instance's."""
        if self.disk is not None and not self.has_child:
            os.close(self.disk.mount_fd)
        self.has_child = True

    def let_go_of_tmp(self) -> bool:
        """Close the disk before the instance ends, unless it may be used again: the last to close one waits long."""
        if self.disk is None or not self.has_child:
            return False
        if self.tmp_mib == COMMON_TMP_MIB and self.disk.is_untouched():
            return False
        os.close(self.disk.root_fd)
        self.disk = None
        return True


class Slots:
    """Makes, keeps ready and takes back slots."""

    def __init__(self, settings: SandboxdSettings) -> None:
        self._settings = settings
        self._networks = Networks(settings.nat_network)
        self._disks = TmpDisks(settings.image_folder)
        self._free_ids: deque[int] = deque()
        self._claim_fd = -1
        self._spare_disks: deque[TmpDisk] = deque()
        self._spare_namespaces: dict[Network, deque[NetNamespace]] = {Network.OFF: deque()}
        self.tmp_problem = ""
        """Why `/tmp` is a tmpfs; empty when it is a disk."""

    def open(self) -> None:
        """Find out what this host can do, and take user ids that no other sandboxd uses.

        Raises:
            SandboxError: all are taken.
        """
        first = self._claim_ids()
        self._free_ids = deque(range(first, first + self._settings.max_instances))
        self._networks.open()
        self.tmp_problem = self._disks.probe()

    def _claim_ids(self) -> int:
        """Return the first id of a range that is ours until this process ends.

        Two instances with one id would share the kernel's limits for a user, and a fork bomb would stop both.
        """
        _CLAIMS.mkdir(parents=True, exist_ok=True)
        for number in range(_MAX_RANGES):
            claim = os.open(_CLAIMS / f"ids-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(claim)
                continue
            self._claim_fd = claim
            return self._settings.first_user_id + number * self._settings.max_instances
        raise SandboxError(f"{_MAX_RANGES} servers run on this host already; no user ids are left for instances.")

    def missing_for_nat(self) -> str:
        """See `Networks.missing_for_nat`."""
        return self._networks.missing_for_nat()

    def take(self, *, tmp_mib: int, network: Network) -> Slot:
        """Return a slot.

        Raises:
            SandboxError: too many instances, or a part of it cannot be made.
        """
        if not self._free_ids:
            raise SandboxError(f"All {self._settings.max_instances} slots are in use.")
        namespace = self._take_namespace(network)
        try:
            disk = self._take_disk(tmp_mib)
        except SandboxError:
            self._networks.release(namespace)
            raise
        return Slot(user_id=self._free_ids.popleft(), network=network, namespace=namespace, tmp_mib=tmp_mib, disk=disk)

    def give_back(self, slot: Slot) -> None:
        """End a slot whose processes are gone. What is as it was when it was new is kept for others."""
        slot.child_started()
        slot.let_go_of_tmp()
        if slot.disk is not None:
            self._keep_disk(slot.disk)
        self._keep_namespace(slot)
        # To the end of the line: the longer an id rests, the less a late trace of its last user means.
        self._free_ids.append(slot.user_id)

    def _keep_disk(self, disk: TmpDisk) -> None:
        if len(self._spare_disks) < _MOST_SPARE:
            with contextlib.suppress(OSError):
                self._spare_disks.append(disk.mounted_again())
                return
        os.close(disk.root_fd)

    def _keep_namespace(self, slot: Slot) -> None:
        spare = self._spare_namespaces[slot.network]
        if len(spare) < _MOST_SPARE and self._networks.is_untouched(slot.namespace):
            spare.append(slot.namespace)
        else:
            self._networks.release(slot.namespace)

    def refill(self) -> bool:
        """Prepare one missing part, or let go of one that only a crowd needed; False when nothing is to be done."""
        wanted = self._settings.spare_slots
        for network, spare in self._spare_namespaces.items():
            if len(spare) < wanted:
                spare.append(self._networks.make(network))
                return True
            if len(spare) > wanted:
                self._networks.release(spare.popleft())
                return True
        if not self.tmp_problem and len(self._spare_disks) < wanted:
            self._spare_disks.append(self._disks.make(COMMON_TMP_MIB))
            return True
        if len(self._spare_disks) > wanted:
            self._spare_disks.popleft().close()
            return True
        return False

    def close(self) -> None:
        """Give everything back that no instance holds."""
        for spare in self._spare_namespaces.values():
            while spare:
                self._networks.release(spare.popleft())
        while self._spare_disks:
            self._spare_disks.popleft().close()
        self._disks.close()
        self._networks.close()
        if self._claim_fd >= 0:
            os.close(self._claim_fd)
            self._claim_fd = -1

    def _take_namespace(self, network: Network) -> NetNamespace:
        # A pool of namespaces behind NAT exists only where functions use them.
        spare = self._spare_namespaces.setdefault(network, deque())
        return spare.popleft() if spare else self._networks.make(network)

    def _take_disk(self, tmp_mib: int) -> TmpDisk | None:
        if self.tmp_problem:
            return None
        if tmp_mib == COMMON_TMP_MIB and self._spare_disks:
            return self._spare_disks.popleft()
        return self._disks.make(tmp_mib)
