"""``python -m serpline.cli``: how the supervising commands start their children."""

import sys

from serpline.cli import main

if __name__ == "__main__":
    sys.exit(main())
