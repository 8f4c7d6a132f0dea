"""Phase 2: search results, by batches or in real time."""
