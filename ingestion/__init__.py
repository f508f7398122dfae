"""Raw windows in, checked rows and feature rows out, online store filled."""
