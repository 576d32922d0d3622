"""The body of a webhook."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from plugvisor.models.body import Body, Time
from plugvisor.models.plugin import Detail, OptionalExit, OptionalHealth, State
from plugvisor.models.process import Status

WebhookKind = Literal["plugin.error", "plugin.recovered", "plugin.given_up", "plugin.limit", "plugin.unhealthy"]


class WebhookData(Body, frozen=True, kw_only=True):
    """A plugin as it was when it happened."""

    plugin_id: str
    status: Status
    state: State
    detail: Detail = UNSET
    health: OptionalHealth = UNSET
    last_exit: OptionalExit = UNSET
    count: Annotated[int, Meta(ge=1, description="how often it has happened since the message before")] = 1
    since: Annotated[Time, Meta(description="when it happened first of these times")]


class WebhookBody(Body, frozen=True, kw_only=True):
    """A message, as Standard Webhooks has it."""

    type: WebhookKind
    timestamp: Annotated[Time, Meta(description="when it happened last")]
    data: WebhookData
