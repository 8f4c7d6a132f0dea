"""ScaleSERP: search, batches with their full life cycle, result files, webhooks, account."""
