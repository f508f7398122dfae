"""Side-by-side measurements of ours and stock Feast, on the same data in the same run."""
