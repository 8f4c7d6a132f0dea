"""Results of runs: written by the phases, read by later phases and by people."""
