"""From an entity id to a prediction, in one process."""
