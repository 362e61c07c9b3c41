"""How an API is asked to send its events to us."""

from __future__ import annotations

import msgspec

from tap_saas.connector.place import TakenFrom
from tap_saas.connector.request_form import RequestForm
from tap_saas.connector.units import Duration

PLACEHOLDERS = ("callback", "id", "expires")


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{create: {...}, id: $.id, lives: 7d, delete: {...}}`: a subscription, made and kept alive.

    Its requests know {callback}, the address of our receiver, {id}, what `id` found when it was
    made, and {expires}, the end of its life if it is made now.

    create: the request that makes it
    id: where the answer names it
    lives: how long it lives, for ever unless said
    renew_before: how long before its end it is renewed, a quarter of its life unless said
    renew: the request that makes it live longer; without it a new one is made and the old removed
    delete: the request that removes it
    """

    create: RequestForm
    id: TakenFrom
    lives: Duration | None = None
    renew_before: Duration | None = None
    renew: RequestForm | None = None
    delete: RequestForm | None = None

    def __post_init__(self) -> None:
        if self.lives is None and (self.renew is not None or self.renew_before is not None):
            raise ValueError("`renew` and `renew_before` go with `lives`")
        before = self.renew_before
        if self.lives is not None and before is not None and before >= self.lives:
            raise ValueError("`renew_before` is shorter than `lives`")

    @property
    def requests(self) -> dict[str, RequestForm]:
        """The requests that there are, by their keys."""
        forms = {"create": self.create, "renew": self.renew, "delete": self.delete}
        return {name: form for name, form in forms.items() if form is not None}
