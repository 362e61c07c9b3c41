"""How a webhook is signed: as Standard Webhooks say, or with a time and a digest in one header.

| scheme | headers | signed |
| --- | --- | --- |
| `standard` | `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64>` | id.time.body |
| `stamped` | `Sandbox-Signature: t=<time>,v1=<hex>`, `Sandbox-Event-Id` | time.body |

Both are HMAC-SHA256; times are seconds since 1970. The key of `standard` is what follows `whsec_`
in the secret, as base64; that of `stamped` is the secret's text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

SCHEMES = ("standard", "stamped")
PREFIX = "whsec_"


def new_secret() -> str:
    """A secret that both schemes can use."""
    return PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def check_secret(scheme: str, secret: str) -> None:
    """Raises: ValueError when the scheme cannot sign with this secret."""
    _key(scheme, secret)


def sign(scheme: str, secret: str, event_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """The headers of a webhook."""
    key = _key(scheme, secret)
    if scheme == "standard":
        content = f"{event_id}.{at_s}.".encode() + body
        digest = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": f"v1,{digest}",
        }
    digest = hmac.digest(key, f"{at_s}.".encode() + body, hashlib.sha256).hex()
    return {"Sandbox-Signature": f"t={at_s},v1={digest}", "Sandbox-Event-Id": event_id}


def _key(scheme: str, secret: str) -> bytes:
    if scheme == "stamped":
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("the secret is not base64") from error
    if not key:
        raise ValueError("the secret is empty")
    return key
