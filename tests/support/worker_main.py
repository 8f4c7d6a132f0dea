"""A worker process with scripted phases: ``python -m tests.support.worker_main``.

``pipeline_worker`` with those and chunks of ``SCRIPTED_CHUNK_SIZE``.
"""

import os

from tests.support.pipeline_worker import serve
from tests.support.scripted import scripted_phases

if __name__ == "__main__":
    serve(scripted_phases(int(os.environ["SCRIPTED_CHUNK_SIZE"])))
