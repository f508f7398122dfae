"""From a spine to a registered model."""
