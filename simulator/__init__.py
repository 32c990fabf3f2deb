"""Simulates Flagsmith and sends its webhooks. The true results are known, for the demo, the tests and the benchmarks."""
