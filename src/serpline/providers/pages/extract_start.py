"""The first lines of the worker's process: what keeps it from starting is told to its parent."""

import sys

from serpline.providers.pages.frames import as_frame


def start() -> None:
    """Run the worker; a library that is missing or broken is the reply in place of ``ready``."""
    try:
        from serpline.providers.pages.extract_main import main
    except Exception as error:  # noqa: BLE001  whatever a library raises as it is imported
        sys.stdout.buffer.write(as_frame({"error": f"{type(error).__name__}: {error}"}))
        sys.stdout.buffer.flush()
        return
    main()


if __name__ == "__main__":
    start()
