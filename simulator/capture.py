"""Writes deliveries as lines of JSON, in the same form as requests captured from Flagsmith."""

import json
from collections.abc import Iterable, Iterator, Mapping

from flagsmith_warehouse.simulator.messages import Delivery
from flagsmith_warehouse.simulator.wire import sign

Secrets = Mapping[str, str]


def headers(body: bytes, secret: str) -> dict[str, str]:
    """Return the headers that Flagsmith sends with a body; without a secret there is no signature."""
    signature = {"X-Flagsmith-Signature": sign(body, secret)} if secret else {}
    return {
        "User-Agent": "flagsmith-warehouse-simulator",
        "Accept": "*/*",
        "content-type": "application/json",
        **signature,
        "Content-Length": str(len(body)),
    }


def path(environment: str) -> str:
    """Return the path of the webhook of an environment."""
    return f"/webhooks/{environment}"


def lines(deliveries: Iterable[Delivery], secrets: Secrets) -> Iterator[str]:
    """Yield one line of JSON per delivery: received_at, method, path, headers, body, secret ("" = unsigned)."""
    for delivery in deliveries:
        secret = secrets.get(delivery.environment, "")
        captured = {
            "received_at": f"{delivery.received_at:%Y-%m-%dT%H:%M:%S.%f}Z",
            "method": "POST",
            "path": path(delivery.environment),
            "headers": headers(delivery.body, secret),
            "body": delivery.body.decode("ascii"),
            "secret": secret,
        }
        yield json.dumps(captured) + "\n"
