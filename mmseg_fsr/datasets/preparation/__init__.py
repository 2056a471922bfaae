"""Image labels and splits of a data set, from what its publishers give."""
