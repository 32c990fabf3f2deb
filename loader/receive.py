"""The web application: a webhook in, an answer out. 204 means: it is on disk."""

from collections.abc import Callable

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

from loader import metrics
from loader.inbox import Inbox, InboxError
from loader.log import LOG
from loader.settings import SECRETS, Settings, read, require_environments
from loader.signature import SignatureError, verify

# A server that waits for commits itself, many at once, puts here what it wants called instead of `Inbox.put`, with
# what is to be done once the delivery is on disk.
KEEP = "loader.keep"


def create_app(settings: Settings | None = None, inbox: Inbox | None = None) -> Flask:
    """The application. Raises SettingsError where nobody could send anything."""
    settings = settings or read()
    require_environments(settings)
    inbox = inbox or Inbox(settings.inbox_dir, on_commit=metrics.COMMIT_SECONDS.observe)
    app = Flask("loader", static_folder=None)
    app.extensions |= {"settings": settings, "inbox": inbox}
    app.url_map.strict_slashes = False  # Flagsmith takes a redirect for delivered: the webhook would be lost
    app.url_map.merge_slashes = False

    @app.route("/webhooks/<environment>", methods=["POST"], provide_automatic_options=False)
    def webhook(environment: str) -> tuple[str, int]:
        metrics.RECEIVED.inc()
        if environment not in settings.environments:
            raise NotFound(f"This environment has no secret here. One is set with {SECRETS.name}.")
        body = whole_body(settings.max_body_bytes, environment in settings.unsigned_environments)
        secret = matching_secret(settings, environment, body)

        def count() -> None:
            metrics.ACCEPTED.labels(environment, "none" if secret is None else secret).inc()
            metrics.ACCEPTED_BYTES.inc(len(body))

        request.environ.get(KEEP, keep)(environment, secret is not None, body, then=count)
        return "", 204

    def keep(*delivery, then: Callable[[], None]) -> None:
        inbox.put(*delivery)
        then()

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


def whole_body(largest: int, may_be_unsigned: bool) -> bytes:
    """The raw bytes of the request. Nothing is verified before all that was announced has arrived."""
    announced = request.content_length
    if announced is None and may_be_unsigned:
        raise LengthRequired("Without a signature or a Content-Length nothing tells whether a body is whole.")
    if announced is not None and announced > largest:
        raise RequestEntityTooLarge(f"The body is larger than {largest} bytes.")
    body = request.stream.read(largest + 1 if announced is None else announced)
    if len(body) > largest:
        raise RequestEntityTooLarge(f"The body is larger than {largest} bytes.")
    if announced is not None and len(body) != announced:
        raise BadRequest(f"The body ended after {len(body)} of {announced} bytes.")
    return body


def matching_secret(settings: Settings, environment: str, body: bytes) -> int | None:
    """Which secret signed the body; None if none did and none has to. Raises SignatureError."""
    secrets = settings.secrets.get(environment, ())
    signature = request.environ.get("HTTP_X_FLAGSMITH_SIGNATURE")
    if environment in settings.unsigned_environments and not (signature and secrets):
        return None
    return verify(body, signature, secrets)


def refuse(error: HTTPException, detail: str = "") -> tuple[Response, int]:
    """Answer with the error as JSON; count and log it if a webhook is refused by it."""
    reason = "_".join(filter(None, [error.name.lower().replace(" ", "_"), detail]))
    if request.endpoint == "webhook":
        metrics.REFUSED.labels(reason).inc()
        fields = {"reason": reason, "environment": (request.view_args or {}).get("environment", "")[:100]}
        LOG.warning("Webhook refused", extra={"fields": fields})
    return jsonify(error=reason, message=error.description), error.code
