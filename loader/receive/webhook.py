"""Decides how to answer a request, without a web framework and without I/O: strings and bytes go in, a decision comes out.

All routes, refusals, metrics and log lines are here. The doors (`app`, `front`) only carry requests in and answers out,
and carry out the decision: keep a webhook, or check whether the inbox can be written.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from flagsmith_warehouse.loader.inbox.writer import Inbox, InboxError
from flagsmith_warehouse.loader.log import LOG
from flagsmith_warehouse.loader.receive import metrics
from flagsmith_warehouse.loader.settings import SECRETS, Settings
from flagsmith_warehouse.loader.signature import SignatureError, verify

PROBES = {"healthz", "readyz", "metrics"}
# Some load balancers check servers with OPTIONS.
PROBE_METHODS = ("GET", "HEAD", "OPTIONS")
# Values for a Content-Length that is not a number, and for one that is larger than any body.
UNREADABLE, LARGEST_LENGTH = -1, 10**18
# The log contains at most this many letters of an environment's name.
LOGGED_LETTERS = 100


class Headers(Protocol):
    """The headers of a request, by lower-case name."""

    def get(self, name: str) -> str | None: ...


class Answer(NamedTuple):
    """A status, headers and a body."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes


class Keep(NamedTuple):
    """A webhook to put into the inbox. `secret`: the position of the secret that signed it; None if it needs no signature."""

    environment: str
    secret: int | None
    body: bytes

    def delivery(self) -> tuple[str, bool, bytes]:
        """The arguments of `Inbox.put`."""
        return self.environment, self.secret is not None, self.body

    def kept(self) -> Answer:
        """The answer once it is on disk."""
        metrics.ACCEPTED.labels(self.environment, "none" if self.secret is None else self.secret).inc()
        metrics.ACCEPTED_BYTES.inc(len(self.body))
        return Answer(204, [], b"")

    def not_kept(self, error: InboxError) -> Answer:
        """The answer if the disk refused it: Flagsmith must send it again."""
        return refuse_webhook(self.environment, 503, "service_unavailable", str(error))


class Probe(NamedTuple):
    """A question about this server that only a look at the disk can answer."""

    name: str

    def answer(self, inbox: Inbox, settings: Settings) -> Answer:
        """The answer. This may wait for the disk."""
        if self.name == "metrics":
            return Answer(200, [("Content-Type", metrics.CONTENT_TYPE)], metrics.render(settings.inbox_dir))
        try:
            inbox.check()
        except InboxError as error:
            return refuse(503, "service_unavailable", str(error))
        return as_json(200, {"status": "ready"})


def answer(
    method: str, path: str, headers: Headers, body: bytes, settings: Settings
) -> Keep | Probe | Answer:
    """The decision on a request. `path` is decoded; `body` has at most `body_limit` bytes."""
    method = method.upper()
    match segments(path):
        case ["webhooks", str(environment)] if environment:
            if method != "POST":
                return refuse_method(["POST"])
            return webhook(environment, headers, body, settings)
        case [str(name)] if name in PROBES:
            if method not in PROBE_METHODS:
                return refuse_method(PROBE_METHODS)
            if method == "OPTIONS":
                return Answer(200, [("Allow", ", ".join(PROBE_METHODS))], b"")
            return as_json(200, {"status": "alive"}) if name == "healthz" else Probe(name)
    return refuse(404, "not_found", "There is nothing at this address. Webhooks go to /webhooks/ENVIRONMENT.")


def segments(path: str) -> list[str]:
    """The parts of a path. Slashes at the start count as one; a slash at the end does not count.

    Neither is answered with a redirect: Flagsmith would take it for a delivery, and the webhook would be lost.
    """
    parts = path.lstrip("/").split("/")
    return parts[:-1] if len(parts) > 1 and parts[-1] == "" else parts


def webhook(environment: str, headers: Headers, body: bytes, settings: Settings) -> Keep | Answer:
    """Check whether a webhook is for a known environment, whole and signed, in this order. Counts it in any case."""
    metrics.RECEIVED.inc()
    if environment not in settings.environments:
        message = f"This environment has no secret here. Set one with {SECRETS.name}."
        return refuse_webhook(environment, 404, "not_found", message)
    may_be_unsigned = environment in settings.unsigned_environments
    if refusal := incomplete(announced_length(headers), body, settings.max_body_bytes, may_be_unsigned):
        return refuse_webhook(environment, *refusal)
    signature = headers.get("x-flagsmith-signature")
    secrets = settings.secrets.get(environment, ())
    if may_be_unsigned and not (signature and secrets):
        return Keep(environment, None, body)
    try:
        return Keep(environment, verify(body, signature, secrets), body)
    except SignatureError as error:
        return refuse_webhook(environment, 401, f"unauthorized_{error.reason}", str(error))


def incomplete(
    announced: int | None, body: bytes, largest: int, may_be_unsigned: bool
) -> tuple[int, str, str] | None:
    """Status, reason and message for a body that is too large or incomplete; None for a complete one."""
    if announced is None and may_be_unsigned:
        message = (
            "Send a Content-Length: without it or a signature, a body that was cut off would look whole."
        )
        return 411, "length_required", message
    if announced == UNREADABLE:
        return 400, "bad_request", "The Content-Length is not a number."
    if len(body) > largest or (announced or 0) > largest:
        return 413, "request_entity_too_large", f"The body is larger than {largest} bytes."
    if announced is not None and len(body) != announced:
        return 400, "bad_request", f"The body ended after {len(body)} of {announced} bytes."
    return None


def announced_length(headers: Headers) -> int | None:
    """The length of the body according to the request; None without Content-Length, UNREADABLE if it is not a number."""
    length = headers.get("content-length")
    if length is None or headers.get("transfer-encoding") is not None:
        return None
    if not (length.isascii() and length.isdigit()):
        return UNREADABLE
    return int(length) if len(length) < 18 else LARGEST_LENGTH


def body_limit(method: str, announced: int | None, settings: Settings) -> int:
    """How many bytes of the body `answer` needs; 0 if it will refuse the body for its length."""
    if method.upper() != "POST" or announced == UNREADABLE:
        return 0
    largest = settings.max_body_bytes
    if announced is None:
        return largest + 1  # one byte more than allowed shows that it is too large
    return announced if announced <= largest else 0


def refuse_webhook(environment: str, status: int, reason: str, message: str) -> Answer:
    """Count a refused webhook, write one line to the log, and say why."""
    metrics.REFUSED.labels(reason).inc()
    fields = {"reason": reason, "environment": environment[:LOGGED_LETTERS]}
    LOG.warning("Webhook refused", extra={"fields": fields})
    return refuse(status, reason, message)


def refuse_method(allowed: Sequence[str]) -> Answer:
    """The answer to a request with a method that the path does not have."""
    methods = ", ".join(allowed)
    refusal = refuse(405, "method_not_allowed", f"This address only answers {methods}.")
    return refusal._replace(headers=[*refusal.headers, ("Allow", methods)])


def refuse(status: int, reason: str, message: str) -> Answer:
    """An error as JSON."""
    return as_json(status, {"error": reason, "message": message})


def as_json(status: int, value: dict) -> Answer:
    """An answer with a JSON body."""
    content = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    return Answer(status, [("Content-Type", "application/json")], content)
