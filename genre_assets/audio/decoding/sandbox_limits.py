"""What a decoder process takes from itself before it sees a stranger's file: rights, files, network, memory, system calls.

Linux only, by prctl, unshare and a seccomp filter that lists the calls which decoding needs (a file is never opened: it is
handed over). Everything not on the list fails with EPERM. Where the machine does not allow one of them, the rest holds
and the answer says so.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

MEMORY = 1 << 30  # bytes of address space that decoding may add
OPEN_FILES = 32

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 1, 38, 22, 2
_NEWUSER, _NEWNET, _NEWIPC = 0x10000000, 0x40000000, 0x08000000
_CLONE_THREAD = 0x00010000


@dataclass(frozen=True)
class _Machine:
    """Numbers of system calls. `clone3` cannot be looked into: it is answered as unknown, and libc takes `clone`."""

    audit: int
    calls: tuple[int, ...]
    clone: int
    tgkill: int
    prlimit64: int
    clone3: int = 435


# read write close fstat newfstatat statx poll ppoll lseek mmap mprotect munmap brk mremap madvise rt_sigaction
# rt_sigprocmask rt_sigreturn sigaltstack pread64 preadv readv writev sched_yield nanosleep clock_nanosleep clock_gettime
# clock_getres gettimeofday time getpid gettid getuid geteuid getgid getegid sendto recvfrom sendmsg recvmsg exit
# exit_group uname getrlimit getrusage sysinfo times futex sched_getaffinity set_tid_address set_robust_list getcpu getrandom
# membarrier rseq
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        (0, 1, 3, 5, 262, 332, 7, 271, 8, 9, 10, 11, 12, 25, 28, 13, 14, 15, 131, 17, 295, 19, 20, 24, 35, 230, 228, 229,
         96, 201, 39, 186, 102, 107, 104, 108, 44, 45, 46, 47, 60, 231, 63, 97, 98, 99, 100, 202, 204, 218, 273, 309, 318,
         324, 334),
        clone=56, tgkill=234, prlimit64=302,
    ),
    "aarch64": _Machine(
        0xC00000B7,
        (63, 64, 57, 80, 79, 291, 73, 62, 222, 226, 215, 214, 216, 233, 134, 135, 139, 132, 67, 69, 65, 66, 124, 101, 115,
         113, 114, 169, 172, 178, 174, 175, 176, 177, 206, 207, 211, 212, 93, 94, 160, 163, 165, 179, 153, 98, 123, 96, 99,
         168, 278, 283, 293),
        clone=220, tgkill=131, prlimit64=261,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Protection:
    """Which of the protections that a machine may forbid are in force."""

    system_calls: bool
    no_network: bool


def protect(*, follow_parent: bool) -> Protection:
    """Give up whatever decoding does not need, for good. `follow_parent`: die with the thread that started this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if follow_parent:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    apart = libc.unshare(_NEWUSER | _NEWNET | _NEWIPC) == 0 or libc.unshare(_NEWNET | _NEWIPC) == 0
    _limit()
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    filtered = _filter_calls(libc)
    return Protection(system_calls=filtered, no_network=apart or filtered)


def allow_seconds(seconds: float) -> None:
    """Let this process use so many more seconds of CPU; it is killed after that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, hard))


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    for kind, value in (
        (resource.RLIMIT_AS, most),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))


def _filter_calls(libc: ctypes.CDLL) -> bool:
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    program = b"".join(_program(machine))
    code = ctypes.create_string_buffer(program, len(program))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    done: int = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, described, 0, 0)
    return done == 0


def _program(machine: _Machine) -> list[bytes]:
    """The filter in the kernel's small machine code; instructions are (code, jump if true, jump if false, value)."""
    load, equal, at_least, any_bit, end = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, unknown = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
    number, architecture, first_argument = 0, 4, 16

    def step(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
        return struct.pack("HBBI", code, true, false, value)

    def if_argument(call: int, test: int, value: int) -> list[bytes]:
        return [
            step(equal, call, 0, 4),
            step(load, first_argument),
            step(test, value, 0, 1),
            step(end, allow),
            step(end, refuse),
        ]

    steps = [step(load, architecture), step(equal, machine.audit, 1), step(end, refuse), step(load, number)]
    steps += [step(at_least, 0x40000000, 0, 1), step(end, refuse)]  # x86's other table of calls
    for call in machine.calls:
        steps += [step(equal, call, 0, 1), step(end, allow)]
    steps += [step(equal, machine.clone3, 0, 1), step(end, unknown)]
    steps += if_argument(machine.clone, any_bit, _CLONE_THREAD)  # threads, no processes
    steps += if_argument(machine.tgkill, equal, os.getpid())  # signals to itself alone
    steps += if_argument(machine.prlimit64, equal, 0)  # limits of itself alone
    return [*steps, step(end, refuse)]
