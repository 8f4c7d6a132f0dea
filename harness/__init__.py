"""What tests, chaos and bench share: databases, workers, simulated providers, scripted phases."""
