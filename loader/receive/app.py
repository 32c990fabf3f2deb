"""The Flask door, for any WSGI server: one thread waits for each webhook. 204 means that it is on disk."""

import contextlib

from flask import Flask, Response, request
from werkzeug.exceptions import ClientDisconnected

from flagsmith_warehouse.loader.inbox.writer import Inbox, InboxError
from flagsmith_warehouse.loader.receive.startup import open_inbox
from flagsmith_warehouse.loader.receive.webhook import Keep, Probe, announced_length, answer, body_limit
from flagsmith_warehouse.loader.settings import Settings, read


def create_app(settings: Settings | None = None, inbox: Inbox | None = None) -> Flask:
    """The application. Raises SettingsError if no environment could send anything."""
    settings = settings or read()
    inbox = inbox or open_inbox(settings)
    app = Flask("loader", static_folder=None)

    @app.before_request  # Flask has no routes of its own: it would answer some paths with a redirect
    def receive() -> Response:
        body = b""
        with contextlib.suppress(ClientDisconnected):  # the part that came is refused as too short
            body = request.stream.read(
                body_limit(request.method, announced_length(request.headers), settings)
            )
        decision = answer(request.method, request.path, request.headers, body, settings)
        if isinstance(decision, Probe):
            decision = decision.answer(inbox, settings)
        elif isinstance(decision, Keep):
            try:
                inbox.put(*decision.delivery())
                decision = decision.kept()
            except InboxError as error:
                decision = decision.not_kept(error)
        return Response(decision.content, decision.status, decision.headers)

    return app
