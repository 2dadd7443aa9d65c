"""A box like Lambda's: ``python box.py COMMAND...`` runs a command in it.

The root is read-only, ``/tmp`` is empty and all that can be written, ``/dev`` holds no ``shm``, the user has
no entry in passwd, and there is no network but the box's own loopback.  It takes Linux's namespaces only.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""This repository: it stays to be seen, read-only, if it lies below ``/tmp``."""

USER = 993
"""The user that the command believes to be."""

REFUSED = 77
"""Exit code if the kernel lets nobody make namespaces."""

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x20000, 0x8000000, 0x10000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = (
    1,
    2,
    4,
    32,
    4096,
    16384,
    1 << 18,
)
_MS_MOVE, _ASIDE = 8192, "/mnt"
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _RDONLY = 442, -100, 0x8000, 1
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_DEVICES = ("null", "zero", "random", "urandom")
_LIBC = ctypes.CDLL(None, use_errno=True)


def run(
    command: Sequence[str], *, environment: Mapping[str, str], content: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in the box with ``content`` as its standard input; exit code `REFUSED`: no box here."""
    return subprocess.run(
        [sys.executable, __file__, *command],
        env=dict(environment),
        input=content,
        capture_output=True,
        cwd="/",
        check=False,
    )


def _enter() -> None:
    """Put this process into a new box."""
    user, group = os.getuid(), os.getgid()
    _check(_LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWIPC))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{USER} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{USER} {group} 1")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    hidden = ROOT.is_relative_to("/tmp")  # noqa: S108
    if hidden:
        _mount(str(ROOT), _ASIDE, None, _MS_BIND | _MS_REC)
    readable = struct.pack("QQQQ", _RDONLY, 0, 0, 0)
    _check(_LIBC.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, readable, len(readable)))
    _mount("tmpfs", "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV)  # noqa: S108
    if hidden:
        ROOT.mkdir(parents=True)
        _mount(_ASIDE, str(ROOT), None, _MS_MOVE)
    _own_devices()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def _own_devices() -> None:
    """A ``/dev`` with a few devices and nothing else."""
    staging = Path("/tmp/.dev")  # noqa: S108
    staging.mkdir()
    for name in _DEVICES:
        (staging / name).touch()
        _mount(f"/dev/{name}", str(staging / name), None, _MS_BIND)
    _mount(str(staging), "/dev", None, _MS_BIND | _MS_REC)
    _mount(None, "/dev", None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind)]
    _check(_LIBC.mount(*words, ctypes.c_ulong(flags), None))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    try:
        _enter()
    except OSError as error:
        sys.stderr.write(f"no box: {error}\n")
        sys.exit(REFUSED)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
