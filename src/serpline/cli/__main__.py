"""``python -m serpline.cli``: the command that supervisors start their children with."""

import sys

from serpline.cli import main

if __name__ == "__main__":
    sys.exit(main())
