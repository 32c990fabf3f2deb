"""Receives Flagsmith's webhooks, keeps them safe in the inbox, and lands them in the warehouse.

The path: receive (signature, inbox) → land (inbox, landing) → dbt. Settings and commands beside it.
"""


class LoaderError(Exception):
    """What went wrong, said for whoever runs the command: what happened, to what, and what to do."""
