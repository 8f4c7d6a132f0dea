"""Provider calls: ledger, budgets, limits, breakers, reference data."""
