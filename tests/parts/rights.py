"""Commands that run with fewer rights than the tests.

Not by `user=` or `preexec_fn` of subprocess: with these Python forks, and beside gRPC's threads (a session of Spark
Connect has some) the child was seen to crash in gRPC's fork handlers before its exec. Without them Python starts it by
vfork, which runs no handlers; the command then gives its rights up itself.
"""

from __future__ import annotations

import sys

_AS_USER = """
import os, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[1]))
os.execv(sys.argv[3], sys.argv[3:])
"""
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by PR_CAPBSET_DROP: gone after the exec.
_READING_WHAT_IS_OPEN = """
import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def as_user(user: int, group: int) -> list[str]:
    """What to put before a command (its whole path) so that it runs as this user, in this group alone."""
    return [sys.executable, "-ISc", _AS_USER, str(user), str(group)]


def reading_what_is_open() -> list[str]:
    """The same, so that root may not read what is closed to it. Of another user it takes nothing."""
    return [sys.executable, "-ISc", _READING_WHAT_IS_OPEN]
