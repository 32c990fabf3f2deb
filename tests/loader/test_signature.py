"""Only bytes signed with a known secret pass, and every refusal is the same kind of error."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagsmith_warehouse.loader.signature import SignatureError, verify

SECRETS = (b"new", "öld ☃".encode())


def signed(body: bytes, secret: bytes) -> str:
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("position", [0, 1])
@given(body=st.binary())
def test_verify__signed_with_any_secret__says_which(position, body):
    assert verify(body, signed(body, SECRETS[position]), SECRETS) == position


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        (None, "missing"),
        ("", "missing"),
        ("0" * 63, "malformed"),
        ("0" * 65, "malformed"),
        ("é" * 64, "malformed"),
        ("\ud800" * 64, "malformed"),
        ("0" * 64, "wrong"),
        (signed(b"body", b"another"), "wrong"),
        (signed(b"body ", b"new"), "wrong"),
        (signed(b"body", b"new").upper(), "wrong"),
    ],
)
def test_verify__not_ours__one_error_with_its_reason(signature, reason):
    with pytest.raises(SignatureError) as refused:
        verify(b"body", signature, SECRETS)
    assert refused.value.reason == reason


@given(body=st.binary(), signature=st.text() | st.text(alphabet="0123456789abcdef", min_size=64, max_size=64))
def test_verify__any_text_as_signature__never_passes(body, signature):
    with pytest.raises(SignatureError):
        verify(body, signature, SECRETS)


def test_verify__no_secrets__never_passes():
    with pytest.raises(SignatureError):
        verify(b"", signed(b"", b""), ())


def test_verify__whichever_matches__tries_every_secret(monkeypatch):
    tried = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: tried.append(a) or compare(a, b))
    verify(b"body", signed(b"body", SECRETS[0]), SECRETS)
    assert len(tried) == len(SECRETS)
