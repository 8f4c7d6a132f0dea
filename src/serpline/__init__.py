"""serpline: competitive search intelligence on a schedule; nothing lost, nothing paid twice."""
