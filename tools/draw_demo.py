"""Draw ``docs/demo.svg``: the parts of the demo's output that README shows, as in a terminal.

``python tools/draw_demo.py`` runs the demo in a pseudo-terminal, for about half a minute. The
picture has the last state of the progress, the DSI table, and the schedule with its cost.
"""

import fcntl
import os
import pty
import re
import struct
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "demo.svg"
COMMAND = ("serpline", "demo", "--limit", "10")
COLUMNS, LINES = 130, 60
_ERASE_LINE = "\x1b[2K"
_SHOW_CURSOR = "\x1b[?25h"
# Each part that is shown begins with one of these words and ends with an empty line.
_PARTS = ("Digital Share Index", "Schedule 'demo'")


def output() -> str:
    """The output of the demo in a terminal of ``COLUMNS``. Raises ``SystemExit`` if it failed."""
    with tempfile.TemporaryDirectory() as directory:
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ |= {"TERM": "xterm-256color", "SERPLINE_DATA_DIR": directory}
            program = Path(sys.executable).with_name(COMMAND[0])
            os.execv(program, COMMAND)  # noqa: S606  the program is our own
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        read = bytearray()
        while True:
            try:
                read += os.read(terminal, 65_536) or b""
            except OSError:  # the end of a pseudo-terminal
                break
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    text = read.decode().replace("\r\n", "\n")
    if status:
        raise SystemExit(f"{' '.join(COMMAND)} ended with {status}:\n{text}")
    return text


def shown(text: str) -> str:
    """The parts of the output that the picture shows."""
    progress, _, rest = text.rpartition(_ERASE_LINE)[2].partition(_SHOW_CURSOR)
    parts = [f"$ {' '.join(COMMAND)}\n{progress}"]
    for words in _PARTS:
        begin = rest.rindex("\n", 0, rest.index(words)) + 1
        parts.append(rest[begin : rest.index("\n\n", begin)])
    return "\n".join(parts)


if __name__ == "__main__":
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(Text.from_ansi(shown(output())), soft_wrap=True)
    picture = console.export_svg(title="serpline demo")
    # A font of the viewer's machine serves; the picture asks no other host for one.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))
    sys.stdout.write(f"{PICTURE.name}: written\n")
