"""The bytes that Flagsmith sends: its JSON and its signature."""

import hashlib
import hmac
import json


def serialise(document: object) -> str:
    """Write JSON as Flagsmith does: sorted keys, `", "` and `": "`, ASCII escapes, Python's floats."""
    return json.dumps(document, sort_keys=True)


def sign(body: bytes, secret: str) -> str:
    """Return `X-Flagsmith-Signature`: HMAC-SHA256 of the raw body, lower-case hex, the secret as UTF-8."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
