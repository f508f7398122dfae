"""What every part of punctual shares: settings, errors, the clock, layout, and the service app factory."""
