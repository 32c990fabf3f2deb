"""Finds out why a signature does not match, by trying common accidents with bodies, secrets and signatures."""

import base64
import binascii
import gzip
import hmac
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

BOM = b"\xef\xbb\xbf"
LARGEST = 64 * 2**20


@dataclass(frozen=True)
class Explanation:
    """Whether the signature matches as it is, and the findings, one sentence each."""

    matches: bool
    sentences: list[str]


def explain(
    body: bytes, signature: str, environment: str, secrets: Mapping[str, tuple[bytes, ...]]
) -> Explanation:
    """Why `signature` does not match `body` for `environment`. `secrets`: the secrets of all environments.

    The sentences never contain a secret. Raises nothing, whatever the bytes.
    """
    signatures = list(_signatures(signature))
    for secret_note, secret in _secrets(environment, secrets):
        for body_note, variant in _bodies(body):
            digest = hmac.digest(secret, variant, "sha256").hex()
            for signature_note, candidate in signatures:
                if candidate == digest:
                    notes = [note for note in (signature_note, body_note, secret_note) if note]
                    return Explanation(not notes, notes or ["The signature matches this body and a secret of "
                        f"{environment}. The loader would accept it."])  # fmt: skip
    return Explanation(False, _nothing_fits(body, signature, environment, secrets))


def _signatures(signature: str) -> Iterator[tuple[str, str]]:
    yield "", signature
    text = signature.strip()
    if ":" in text:
        text = text.rpartition(":")[2].strip()
    if text.lower().startswith("sha256="):
        text = text[7:]
    text = text.strip("\"'")
    if text != signature:
        yield (
            "The signature has something around it (blanks, quotes, a prefix). The header must hold 64 hex digits, nothing else.",
            text,
        )
    if text.lower() != text:
        yield "The signature is in capitals; Flagsmith sends lower-case hex.", text.lower()
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return
    if len(decoded) == 32:
        yield "The signature is in base64; Flagsmith sends lower-case hex.", decoded.hex()


def _secrets(environment: str, secrets: Mapping[str, tuple[bytes, ...]]) -> Iterator[tuple[str, bytes]]:
    own = secrets.get(environment, ())
    yield from (("", secret) for secret in own)
    for name, others in secrets.items():
        if name != environment:
            yield from ((f"It was signed with the secret of the environment {name}: that webhook has the URL of "
                f"{environment}, or the secrets are swapped here.", secret) for secret in others)  # fmt: skip
    for secret in own:
        for what, variant in (
            ("without the blanks or line end around it", secret.strip()),
            ("with a line end after it", secret.strip() + b"\n"),
            ("without the byte order mark before it", secret.strip().removeprefix(BOM)),
            ("with a byte order mark before it", BOM + secret.strip()),
            ("without the quotes around it", secret.strip().strip(b"\"'")),
            ("encoded in Latin-1", _recoded(secret, "utf-8", "latin-1")),
            ("as the bytes that its hex digits stand for", _unhexed(secret)),
        ):
            if variant and variant != secret:
                yield (
                    f"It was signed with the secret that is set here, but {what}. Set exactly the one in Flagsmith.",
                    variant,
                )


def _bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The bodies from which this one may have been made on its way here, each with what happened."""
    yield "", body
    yield (
        "The body begins with a byte order mark that was not signed. The program that stores the body must not add one.",
        body.removeprefix(BOM),
    )
    yield (
        "The body ends with a line end that was not signed: `echo` and editors add one. Use printf '%s', or curl --data-binary.",
        body.rstrip(b"\r\n"),
    )
    yield "The body lost a line end at its end: curl --data removes it; use --data-binary.", body + b"\n"
    yield "The body has blanks around it that were not signed.", body.removeprefix(BOM).strip()
    yield (
        "The line ends of the body were changed (CRLF). Transfer it as binary.",
        body.replace(b"\r\n", b"\n"),
    )
    yield "The body is compressed, but the uncompressed body was signed.", _unzipped(body)
    for charset in ("utf-16", "latin-1", "cp1252"):
        yield (
            f"The body was changed from UTF-8 to {charset}, but the UTF-8 was signed.",
            _recoded(body, charset, "utf-8"),
        )
    yield (
        "The body was read as Latin-1 and written as UTF-8, which spoils every letter beyond ASCII.",
        _recoded(body, "utf-8", "latin-1"),
    )
    yield from _written_again(body)


def _written_again(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The body parsed and written again: other blanks, other order of keys, other escapes. This is the most common case."""
    try:
        value = json.loads(body.removeprefix(BOM))
        note = (
            "The body was parsed and written again before it was checked ({}), so the bytes are not those that were "
            "signed. Check the raw body: request.get_data() in Flask, express.raw() in Express, request.body in Django."
        )
        if isinstance(value, str):
            yield note.format("it is JSON inside a JSON text"), value.encode()
            value = json.loads(value)
        yield (
            note.format("blanks, order of keys or escapes differ"),
            json.dumps(value, sort_keys=True).encode(),
        )
        yield note.format("blanks or escapes differ"), json.dumps(value).encode()
        yield note.format("blanks differ"), json.dumps(value, separators=(",", ":")).encode()
        yield note.format("blanks differ"), json.dumps(value, ensure_ascii=False).encode()
        yield (
            note.format("blanks differ"),
            json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(),
        )
    except (ValueError, RecursionError):
        return


def _nothing_fits(body: bytes, signature: str, environment: str, secrets: Mapping) -> list[str]:
    if not secrets.get(environment):
        known = ", ".join(sorted(secrets)) or "none"
        return [f"The environment {environment} has no secret here. Those that have one: {known}."]
    sentences = [
        "The secret is most likely another one. Open the webhook in Flagsmith (Environment settings → Webhooks), copy "
        f"its secret, and set it for {environment}. Flagsmith takes up to a minute to use a new one.",
        f"Tried: the {len(secrets[environment])} secrets of {environment} and those of the other environments; the body "
        "as it is, without line end, blanks, byte order mark or compression, in other charsets, and written again as JSON.",
    ]
    if len(signature.strip()) != 64:
        sentences.insert(
            0, f"The signature has {len(signature.strip())} characters; 64 hex digits are expected."
        )
    if not body:
        sentences.insert(0, "The body is empty. Pass it on standard input: … doctor verify … < body")
    elif not _is_json(body):
        sentences.insert(
            0,
            f"The body ({len(body):,} bytes) is not complete JSON: it may have been cut off, and then no signature matches.",
        )
    return sentences


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body.removeprefix(BOM))
    except (ValueError, RecursionError):
        return False
    return True


def _recoded(text: bytes, written_in: str, read_as: str) -> bytes:
    try:
        return text.decode(written_in).encode(read_as)
    except (UnicodeError, ValueError):
        return text


def _unzipped(body: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=47).decompress(body, LARGEST)
    except (zlib.error, gzip.BadGzipFile):
        return body


def _unhexed(secret: bytes) -> bytes:
    try:
        return bytes.fromhex(secret.decode())
    except (ValueError, UnicodeDecodeError):
        return secret
