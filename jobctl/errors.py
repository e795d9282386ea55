"""What can go wrong, and the exit code that says so: one name and one sentence each."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes, as documented in the README."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    ITEMS_FAILED = 3
    UNKNOWN_OUTCOME = 4
    CAPPED = 5
    INVARIANT_BROKEN = 6
    UNREACHABLE = 69
    LOCK_HELD = 75
    MISCONFIGURED = 78
    INTERRUPTED = 130
    TERMINATED = 143


# What wins when several apply: a stop signal, then whatever keeps the next run from working either.
PRECEDENCE = (
    Exit.TERMINATED,
    Exit.INTERRUPTED,
    Exit.MISCONFIGURED,
    Exit.USAGE,
    Exit.UNREACHABLE,
    Exit.UNEXPECTED,
    Exit.INVARIANT_BROKEN,
    Exit.CAPPED,
    Exit.UNKNOWN_OUTCOME,
    Exit.ITEMS_FAILED,
    Exit.LOCK_HELD,
    Exit.DONE,
)


def worst(*codes: Exit) -> Exit:
    return min(codes, key=PRECEDENCE.index, default=Exit.DONE)


class JobctlError(Exception):
    """An error that a user can cause or cure; its text is the whole message."""

    exit_code = Exit.UNEXPECTED


class MisconfiguredError(JobctlError):
    exit_code = Exit.MISCONFIGURED


class UnreachableError(JobctlError):
    exit_code = Exit.UNREACHABLE


class LockHeldError(JobctlError):
    exit_code = Exit.LOCK_HELD


class UsageError(JobctlError):
    exit_code = Exit.USAGE
