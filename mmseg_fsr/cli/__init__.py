"""Parts that the tools share: arguments, options of a run, ranks on a CPU."""
