"""What keeps a proof's server from the network, and its credentials from whoever runs there.

A database's own code runs in the proof's server.  Its roles have no rights outside of the database, and if
one of them found a way all the same, it would find no network, and no process to read credentials from.  The
kernel grants both to ordinary users; children inherit them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# linux/prctl.h, linux/seccomp.h, linux/filter.h, linux/audit.h; asm/unistd_64.h
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 3, 4, 22, 38
_SECCOMP_MODE_FILTER, _ALLOW, _ERRNO = 2, 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_X86_64, _X32_NUMBERS = 0xC000003E, 0x40000000
_SOCKET, _AF_UNIX = 41, 1
_FORBIDDEN = (101, 310, 311, 425, 438)
"""ptrace, process_vm_readv, process_vm_writev, io_uring_setup (it opens sockets, too), pidfd_getfd."""


def without_network() -> Callable[[], None]:
    """What a child runs before its program, so that it and its children have unix sockets only.

    They can't look into other processes by system calls either, nor gain rights by a program's file mode.

    Returns
    -------
    Callable
        For `subprocess.Popen`'s ``preexec_fn``.  It raises OSError if the kernel
        refuses: there is no child then.
    """
    if platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, "a server can be sealed on x86-64 only")
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    filters = ctypes.create_string_buffer(_filters())
    count = (len(filters) - 1) // 8
    program = ctypes.create_string_buffer(struct.pack("H6xQ", count, ctypes.addressof(filters)))
    keep = (filters, program)

    def before_program() -> None:
        none = ctypes.c_ulong(0)
        if prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), none, none, none) or prctl(
            _PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), keep[1], none, none
        ):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return before_program


def _filters() -> bytes:
    """The rules as the kernel's classic BPF: (code, jump if true, jump if false, value)."""
    refuse = _ERRNO | errno.EPERM
    rules = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, refuse),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32_NUMBERS),
        (_RETURN, 0, 0, refuse),
    ]
    for number in _FORBIDDEN:
        rules += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refuse)]
    rules += [
        (_EQUAL, 0, 3, _SOCKET),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *rule) for rule in rules)


@contextmanager
def unreadable() -> Iterator[None]:
    """Let no other process of this user read this one's memory and environment meanwhile.

    Source: prctl(2), PR_SET_DUMPABLE; proc(5): the files then belong to root.
    """
    prctl = ctypes.CDLL(None).prctl
    before = prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)
    become_unreadable()
    try:
        yield
    finally:
        prctl(_PR_SET_DUMPABLE, before, 0, 0, 0)


def become_unreadable() -> None:
    """The same for good: a program that is started doesn't inherit it, so workers do it themselves."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
