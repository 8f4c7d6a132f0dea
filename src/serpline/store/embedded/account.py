"""The operating-system account that the embedded server runs as.

Promise: an ordinary user's server runs as that user. PostgreSQL refuses root, so root's server runs
with a user id and a group id that no other process has: no other process can then signal it, open
its memory, or reach its files and its socket through ``/proc``.

Limits: every server of root's on one machine has the same ids.
"""

import os
import pwd
import sys
from contextlib import suppress
from dataclasses import dataclass, replace

from serpline.domain.errors import UserError

# In the range 60578 to 61183, which no distribution and no systemd assigns, and below 65536, as a
# container has no others: https://systemd.io/UIDS-GIDS/.
SERVER_ID = 61_032


class EmbeddedError(UserError):
    """The embedded server cannot be used here; one line that names the path and says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and the group of a process."""

    name: str
    uid: int
    gid: int
    other: bool
    """Whether this is somebody else than the calling user, who is root then."""

    @classmethod
    def current(cls) -> "Account":
        """The account of the caller's server."""
        uid = os.geteuid()
        if uid != 0:
            return cls(user_name(uid), uid, os.getegid(), other=False)
        return cls(str(SERVER_ID), SERVER_ID, SERVER_ID, other=True)

    @property
    def opaque(self) -> bool:
        """Whether the server is handed open directories: ``/proc`` reaches them without a path."""
        return self.other and sys.platform == "linux"

    def named(self) -> "Account":
        """The account for initdb, which refuses a user id without a name; PostgreSQL does not.

        The group is the server's: Linux lets a process into ``/proc`` of another only if both ids
        are the same.
        """
        if not self.other:
            return self
        try:
            return replace(self, name="nobody", uid=pwd.getpwnam("nobody").pw_uid)
        except KeyError:
            raise EmbeddedError(
                "user nobody does not exist: PostgreSQL does not run as root, "
                "start serpline as an ordinary user"
            ) from None

    def check_exclusive(self) -> None:
        """Raise if somebody on this machine was given the server's id."""
        with suppress(KeyError):
            if self.other:
                raise EmbeddedError(
                    f"user id {self.uid} belongs to {pwd.getpwuid(self.uid).pw_name}, and root's "
                    "server needs it for itself: start serpline as an ordinary user"
                )


def user_name(uid: int) -> str:
    """The login name, or the number of a user without one."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
