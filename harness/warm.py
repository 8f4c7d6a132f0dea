"""What a worker loads at its first use. Forks of a warm process save it.

Nothing is computed here: polars starts its threads at its first computation, and a fork has none
of its parent's threads.
"""

import serpline.phases.dsi_figures  # noqa: F401
from serpline.analysis.hosts import registered, registrable_domain

# Each reads a list of public suffixes.
registrable_domain("www.example.com")
registered("example.com")
