"""Signatures that are checked with a public key, through the library `cryptography`."""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


@functools.cache
def missing() -> str | None:
    """Why public keys cannot be used here, None where they can."""
    if importlib.util.find_spec("cryptography") is not None:
        return None
    return "the library cryptography is missing; pip install 'tap-saas[webhooks]'"


@functools.lru_cache
def ed25519(key: bytes) -> Ed25519PublicKey:
    """The public key of these 32 bytes (RFC 8032); raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        return Ed25519PublicKey.from_public_bytes(key)
    except ValueError:
        raise ValueError("is not the 32 bytes of an ed25519 public key") from None


@functools.lru_cache
def ecdsa(key: bytes) -> EllipticCurvePublicKey:
    """The P-256 public key of a DER SubjectPublicKeyInfo (RFC 5480); raises ValueError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        public = load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return public
    raise ValueError("is not the DER of a P-256 public key")


def fits_ed25519(key: bytes, signed: bytes, signature: bytes) -> bool:
    """Whether the signature is the key holder's."""
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519(key).verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def fits_ecdsa(key: bytes, signed: bytes, signature: bytes) -> bool:
    """Whether the DER signature over the SHA-256 of the bytes is the key holder's."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        ecdsa(key).verify(signature, signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
