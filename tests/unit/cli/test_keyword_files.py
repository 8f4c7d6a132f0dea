"""Opening keyword files."""

import os
import threading
from pathlib import Path

from serpline.cli.keyword_files import opened_file


def test_a_pipe_is_read_as_a_file(tmp_path: Path) -> None:
    """Such as ``<(command)`` of a shell, which cannot be rewound."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"tea\n",))
    writer.start()
    with opened_file(pipe) as stream:
        assert (stream.read(), stream.seek(0), stream.read()) == (b"tea\n", 0, b"tea\n")
    writer.join()
