"""Chaos: the reliability scorecard, measured under seeded faults and judged from outside.

The auditors are the simulator's call log and credit ledger, and the database; never the code that
is being judged. Each row of the scorecard is a module of ``chaos.rows``.
"""
