"""ScaleSERP: real-time searches and batches of searches (Traject Data)."""
