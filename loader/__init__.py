"""Receives Flagsmith's webhooks, keeps them safe in the inbox, and lands them in the warehouse.

The path: receive (signature, inbox) → land (inbox, landing) → dbt. Settings and commands beside it.
"""


class LoaderError(Exception):
    """An error whose message tells the person at the command what happened, to what, and what to do."""
