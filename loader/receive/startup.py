"""Steps that both doors take before the first request."""

from flagsmith_warehouse.loader.filesystem import keep_private
from flagsmith_warehouse.loader.inbox.writer import Inbox
from flagsmith_warehouse.loader.receive import metrics
from flagsmith_warehouse.loader.settings import Settings, require_environments


def open_inbox(settings: Settings) -> Inbox:
    """The inbox of this process, with its commits timed. Raises SettingsError if no environment could send anything."""
    require_environments(settings)
    keep_private()
    return Inbox(settings.inbox_dir, on_commit=metrics.COMMIT_SECONDS.observe)
