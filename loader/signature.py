"""Checks whether a body was signed with one of our secrets. Bytes go in; a position or one kind of error comes out."""

import hmac
from collections.abc import Sequence


class SignatureError(Exception):
    """The body is not signed with any of the secrets. `reason` is missing, malformed or wrong."""

    def __init__(self, reason: str):
        super().__init__(f"The signature of the webhook is {reason}.")
        self.reason = reason


def verify(body: bytes, signature: str | None, secrets: Sequence[bytes]) -> int:
    """The position of the secret that made `signature`, the lower-case hex HMAC-SHA256 of `body`.

    Every secret is tried, each in constant time, so that the response time reveals nothing about the secrets.
    Raises SignatureError, and nothing else, whatever the bytes.
    """
    if not signature:
        raise SignatureError("missing")
    if len(signature) != 64 or not signature.isascii():
        raise SignatureError("malformed")
    matches = [
        hmac.compare_digest(hmac.digest(secret, body, "sha256").hex(), signature) for secret in secrets
    ]
    if not any(matches):
        raise SignatureError("wrong")
    return matches.index(True)
