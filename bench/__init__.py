"""Benchmarks: figures are ratios taken side by side in one run, never bare numbers."""
