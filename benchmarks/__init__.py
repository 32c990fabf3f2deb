"""What it costs: each module here is one part, with a function `main` that prints a Markdown table."""
