"""Parts that the tools share: arguments, options, output folders, ranks on a CPU."""
