"""The web application: a webhook in, an answer out. 204 means: it is on disk."""

from collections.abc import Callable
from typing import NamedTuple

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    LengthRequired,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    Unauthorized,
)

from flagsmith_warehouse.loader.filesystem import keep_private
from flagsmith_warehouse.loader.inbox.writer import Inbox, InboxError
from flagsmith_warehouse.loader.log import LOG
from flagsmith_warehouse.loader.receive import metrics
from flagsmith_warehouse.loader.settings import SECRETS, Settings, read, require_environments
from flagsmith_warehouse.loader.signature import SignatureError, verify

# What `accept` and `Inbox.put` raise, and the application has an answer to.
Refusal = (HTTPException, SignatureError, InboxError)


class Accepted(NamedTuple):
    """A webhook to keep: signed with the secret at that position, or from an environment that need not sign."""

    environment: str
    secret: int | None
    body: bytes

    def delivery(self) -> tuple[str, bool, bytes]:
        """What `Inbox.put` wants of it."""
        return self.environment, self.secret is not None, self.body

    def count(self) -> None:
        """It is on disk."""
        metrics.ACCEPTED.labels(self.environment, "none" if self.secret is None else self.secret).inc()
        metrics.ACCEPTED_BYTES.inc(len(self.body))


def accept(
    settings: Settings,
    environment: str,
    announced: int | None,
    read_bytes: Callable[[int], bytes],
    signature: str | None,
) -> Accepted:
    """The webhook, if it is ours and signed; its body has the `announced` length. Raises one of Refusal."""
    metrics.RECEIVED.inc()
    if environment not in settings.environments:
        raise NotFound(f"This environment has no secret here. One is set with {SECRETS.name}.")
    may_be_unsigned = environment in settings.unsigned_environments
    body = whole_body(settings.max_body_bytes, announced, read_bytes, may_be_unsigned)
    secrets = settings.secrets.get(environment, ())
    if may_be_unsigned and not (signature and secrets):
        return Accepted(environment, None, body)
    return Accepted(environment, verify(body, signature, secrets), body)


def create_app(settings: Settings | None = None, inbox: Inbox | None = None) -> Flask:
    """The application. Raises SettingsError where nobody could send anything."""
    settings = settings or read()
    require_environments(settings)
    keep_private()
    inbox = inbox or Inbox(settings.inbox_dir, on_commit=metrics.COMMIT_SECONDS.observe)
    app = Flask("loader", static_folder=None)
    app.extensions |= {"settings": settings, "inbox": inbox}
    app.url_map.strict_slashes = False  # Flagsmith takes a redirect for delivered: the webhook would be lost
    app.url_map.merge_slashes = False

    @app.route("/webhooks/<environment>", methods=["POST"], provide_automatic_options=False)
    def webhook(environment: str) -> tuple[str, int]:
        signature = request.environ.get("HTTP_X_FLAGSMITH_SIGNATURE")
        accepted = accept(settings, environment, request.content_length, request.stream.read, signature)
        inbox.put(*accepted.delivery())
        accepted.count()
        return "", 204

    @app.get("/healthz")
    def alive() -> dict:
        return {"status": "alive"}

    @app.get("/readyz")
    def ready() -> dict:
        inbox.check()
        return {"status": "ready"}

    @app.get("/metrics")
    def measured() -> Response:
        return Response(metrics.render(settings.inbox_dir), content_type=metrics.CONTENT_TYPE)

    app.register_error_handler(HTTPException, refuse)
    app.register_error_handler(SignatureError, lambda error: refuse(Unauthorized(str(error)), error.reason))
    app.register_error_handler(InboxError, lambda error: refuse(ServiceUnavailable(str(error))))
    return app


def whole_body(
    largest: int, announced: int | None, read_bytes: Callable[[int], bytes], may_be_unsigned: bool
) -> bytes:
    """The raw bytes of the request. Nothing is verified before all that was announced has arrived."""
    if announced is None and may_be_unsigned:
        raise LengthRequired("Without a signature or a Content-Length nothing tells whether a body is whole.")
    if announced is not None and announced > largest:
        raise RequestEntityTooLarge(f"The body is larger than {largest} bytes.")
    body = read_bytes(largest + 1 if announced is None else announced)
    if len(body) > largest:
        raise RequestEntityTooLarge(f"The body is larger than {largest} bytes.")
    if announced is not None and len(body) != announced:
        raise BadRequest(f"The body ended after {len(body)} of {announced} bytes.")
    return body


def refuse(error: HTTPException, detail: str = "") -> tuple[Response, int]:
    """Answer with the error as JSON; count and log it if a webhook is refused by it."""
    reason = "_".join(filter(None, [error.name.lower().replace(" ", "_"), detail]))
    if request.endpoint == "webhook":
        metrics.REFUSED.labels(reason).inc()
        fields = {"reason": reason, "environment": (request.view_args or {}).get("environment", "")[:100]}
        LOG.warning("Webhook refused", extra={"fields": fields})
    return jsonify(error=reason, message=error.description), error.code
