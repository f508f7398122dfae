"""A package, since one of its folders is."""
