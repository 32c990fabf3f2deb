"""`python -m benchmarks [part ...]`: run the named benchmarks, or all of them, and print their figures."""

import importlib
import pkgutil
import sys

import benchmarks


def main(arguments: list[str]) -> None:
    """Run the named benchmarks. Exits with a message if one of them does not exist."""
    parts = sorted(
        module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name[0] != "_"
    )
    unknown = set(arguments) - set(parts)
    if unknown:
        sys.exit(f"There is no part {', '.join(unknown)}; there are {', '.join(parts)}.")
    for part in arguments or parts:
        print(f"## {part}\n", flush=True)
        importlib.import_module(f"benchmarks.{part}").main()


main(sys.argv[1:])
