"""The reliability scorecard: campaigns of seeded faults, audited from outside the code.

The auditors are the simulator's call log, its credit ledger and the database, never the code under
test. Each row of the scorecard is a module of ``chaos.rows``.
"""
