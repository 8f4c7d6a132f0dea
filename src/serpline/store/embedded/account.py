"""The operating-system account that the embedded server runs as.

Promise: an ordinary user's server runs as that user. PostgreSQL refuses root, so root's server has
a user id and a group id that no other process has. No other process can then signal it, open its
memory, or reach its files and socket through ``/proc``.

Limits: all of root's servers on a machine have the same ids.
"""

import os
import pwd
import sys
from contextlib import suppress
from dataclasses import dataclass, replace

from serpline.domain.errors import UserError

# In the range 60578 to 61183, which no distribution and no systemd assigns, and below 65536, the
# limit of many containers: https://systemd.io/UIDS-GIDS/.
SERVER_ID = 61_032


class EmbeddedError(UserError):
    """The embedded server cannot be used here; the message is one line with the path and reason."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user and the group of a process."""

    name: str
    uid: int
    gid: int
    other: bool
    """Whether it is another user than the caller, who is then root."""

    @classmethod
    def current(cls) -> "Account":
        """Return the account of the caller's server."""
        uid = os.geteuid()
        if uid != 0:
            return cls(user_name(uid), uid, os.getegid(), other=False)
        return cls(str(SERVER_ID), SERVER_ID, SERVER_ID, other=True)

    @property
    def needs_open_dirs(self) -> bool:
        """Whether the server gets open directories instead of paths, by ``/proc``."""
        return self.other and sys.platform == "linux"

    def named(self) -> "Account":
        """Return the account for initdb, which refuses a user id without a name.

        It keeps the server's group: Linux opens ``/proc`` of another process only if both ids
        match.
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
        """Raise if a user of this machine has the server's id."""
        with suppress(KeyError):
            if self.other:
                raise EmbeddedError(
                    f"user id {self.uid} belongs to {pwd.getpwuid(self.uid).pw_name}, and root's "
                    "server needs it for itself: start serpline as an ordinary user"
                )


def user_name(uid: int) -> str:
    """Return the login name, or the number of a user without one."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
