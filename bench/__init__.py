"""Benchmarks. Figures are ratios taken side by side in one run, or bounds that a person notices."""
