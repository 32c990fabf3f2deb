"""Benchmarks. Each module measures one part of the project; its `main` prints a Markdown table."""
