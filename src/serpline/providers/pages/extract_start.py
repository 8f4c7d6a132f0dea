"""The entry point of the extractor process; reports a failed start to its parent."""

import sys

from serpline.providers.pages.frames import as_frame


def start() -> None:
    """Run the extractor; if a library is missing or broken, reply with the error, not ``ready``."""
    try:
        from serpline.providers.pages.extract_main import main
    except Exception as error:  # noqa: BLE001  a library may raise anything on import
        sys.stdout.buffer.write(as_frame({"error": f"{type(error).__name__}: {error}"}))
        sys.stdout.buffer.flush()
        return
    main()


if __name__ == "__main__":
    start()
