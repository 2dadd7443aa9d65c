"""Text of a session as Python's, and back: byte for byte, whatever the server's encoding and the bytes.

Most text is of the database's encoding, but the shared catalogues hold names from all databases, and
SQL_ASCII holds anything.  So no codec here refuses bytes.

- UTF8 is read with surrogates for bytes that it hasn't (PEP 383), and so is what has no characters of its own
  (SQL_ASCII) or no codec in Python (EUC_TW, MULE_INTERNAL).
- Any other encoding is read by Python's codec; text that this wouldn't give back byte for byte is read with a
  character from U+F780 to U+F7FF for each byte above 127.  Surrogates won't do there: parts write text in
  UTF-8, and as UTF-8 such bytes may be a character that the encoding has as other bytes.

Sources: https://www.postgresql.org/docs/current/multibyte.html,
https://encoding.spec.whatwg.org/#x-user-defined (for the characters from U+F780 on)
"""

from __future__ import annotations

import codecs
import re
from functools import cache, partial
from typing import Any

from coffre.errors import QueryFailedError

_PREFIX = "coffre_"
_CARRIED = "coffre_carried"
_PYTHONS = {
    "EUC_CN": "gb2312",
    "EUC_JIS_2004": "euc_jis_2004",
    "EUC_JP": "euc_jp",
    "EUC_KR": "euc_kr",
    "ISO_8859_5": "iso8859_5",
    "ISO_8859_6": "iso8859_6",
    "ISO_8859_7": "iso8859_7",
    "ISO_8859_8": "iso8859_8",
    "KOI8R": "koi8_r",
    "KOI8U": "koi8_u",
    "LATIN1": "iso8859_1",
    "LATIN2": "iso8859_2",
    "LATIN3": "iso8859_3",
    "LATIN4": "iso8859_4",
    "LATIN5": "iso8859_9",
    "LATIN6": "iso8859_10",
    "LATIN7": "iso8859_13",
    "LATIN8": "iso8859_14",
    "LATIN9": "iso8859_15",
    "LATIN10": "iso8859_16",
    "WIN866": "cp866",
    "WIN874": "cp874",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "WIN1253": "cp1253",
    "WIN1254": "cp1254",
    "WIN1255": "cp1255",
    "WIN1256": "cp1256",
    "WIN1257": "cp1257",
    "WIN1258": "cp1258",
}
_FIRST, _LAST = 0xF780, 0xF7FF
_TO_CARRIED = {byte: byte - 0x80 + _FIRST for byte in range(0x80, 0x100)}

_PAIR = rb"[\xa1-\xfe]{2}"
_EUC_JAPANESE = rb"\x8e[\xa1-\xdf]|\x8f[\xa1-\xfe]{2}|" + _PAIR
_CHARACTERS = {
    "EUC_CN": _PAIR,
    "EUC_JIS_2004": _EUC_JAPANESE,
    "EUC_JP": _EUC_JAPANESE,
    "EUC_KR": _PAIR,
    "EUC_TW": rb"\x8e[\xa1-\xa7][\xa1-\xfe]{2}|[\x80-\x8d\x90-\xff][\xa1-\xfe]",
    "MULE_INTERNAL": rb"[\x81-\x8d][\x80-\xff]|[\x90-\x9b][\x80-\xff]{2}|[\x9c\x9d][\x80-\xff]{3}"
    rb"|[\x80\x8e\x8f\x9e-\xff]",
}
"""What servers take for a character beside ASCII's, where not every byte is one.
Source: ``pg_wchar_table`` in wchar.c"""


def codec_of(encoding: str) -> str:
    """Python's name of the codec for text in one of PostgreSQL's encodings.

    It raises `QueryFailedError` for characters that the encoding hasn't, as a server would.
    """
    _register()
    return f"{_PREFIX}{encoding.lower()}"


def recoded(name: str, read_as: str, encoding: str) -> str:
    """``name`` from a session of the encoding ``read_as``, as one of ``encoding`` reads the same bytes.

    Raises
    ------
    QueryFailedError
        If no session of ``read_as`` gives such a name.
    """
    if name.isascii() or read_as == encoding:
        return name
    return name.encode(codec_of(read_as)).decode(codec_of(encoding))


def can_say(name: str, encoding: str) -> bool:
    """Whether a statement may hold ``name``, in a session of ``encoding`` that read it.

    Servers check what they are sent, but not what stands in the shared catalogues already.
    """
    if name.isascii():
        return True
    if encoding == "UTF8":
        return not any("\ud800" <= character <= "\udfff" for character in name)
    if encoding not in _CHARACTERS:
        return True
    written = rb"(?:[\x00-\x7f]|" + _CHARACTERS[encoding] + rb")*"
    return re.fullmatch(written, name.encode(codec_of(encoding))) is not None


def sayable(text: str, encoding: str) -> str:
    r"""``text``, or with its bytes written as ``\xNN`` where no statement may hold it: see `can_say`."""
    if can_say(text, encoding):
        return text
    return text.encode(codec_of(encoding)).decode("ascii", "backslashreplace")


@cache
def _register() -> None:
    codecs.register(_find)
    codecs.register_error(_CARRIED, _carried)


def _find(name: str) -> codecs.CodecInfo | None:
    if not name.startswith(_PREFIX):
        return None
    encoding = name.removeprefix(_PREFIX).upper()
    if encoding not in _PYTHONS:
        return codecs.CodecInfo(partial(_encode_bytes, encoding), _decode_bytes, name=name)
    python = _PYTHONS[encoding]
    return codecs.CodecInfo(partial(_encode, encoding, python), partial(_decode, python), name=name)


def _decode_bytes(data: Any, _errors: str = "strict") -> tuple[str, int]:
    return codecs.utf_8_decode(data, "surrogateescape", True)


def _encode_bytes(encoding: str, text: str, _errors: str = "strict") -> tuple[bytes, int]:
    try:
        return codecs.utf_8_encode(text, "surrogateescape")
    except UnicodeEncodeError as error:
        raise _lacking(encoding, error) from error


def _decode(python: str, data: Any, _errors: str = "strict") -> tuple[str, int]:
    raw = bytes(data)
    try:
        text = raw.decode(python)
        if text.encode(python) == raw:
            return text, len(raw)
    except UnicodeError:
        pass
    return raw.decode("latin-1").translate(_TO_CARRIED), len(raw)


def _encode(encoding: str, python: str, text: str, _errors: str = "strict") -> tuple[bytes, int]:
    try:
        return text.encode(python, _CARRIED), len(text)
    except UnicodeEncodeError as error:
        raise _lacking(encoding, error) from error


def _carried(error: UnicodeError) -> tuple[bytes, int]:
    """The bytes of those characters that stand for bytes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    numbers = [ord(character) for character in error.object[error.start : error.end]]
    if not all(_FIRST <= number <= _LAST for number in numbers):
        raise error
    return bytes(number - _FIRST + 0x80 for number in numbers), error.end


def _lacking(encoding: str, error: UnicodeEncodeError) -> QueryFailedError:
    return QueryFailedError(
        f"the encoding {encoding} has no character {error.object[error.start]!r}",
        "Use names that the database can hold.",
        sqlstate="22P05",
    )
