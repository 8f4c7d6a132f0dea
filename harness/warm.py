"""What a worker loads at its first use: 1 s of processor time. Forks of a warm process save it."""

import serpline.phases.dsi_figures  # noqa: F401
from serpline.analysis.hosts import registrable_domain

registrable_domain("www.example.com")  # reads the list of public suffixes
