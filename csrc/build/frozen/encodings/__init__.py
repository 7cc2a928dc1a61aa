"""The `encodings` package of the executable: UTF-8, ASCII and Latin-1, without a search in files.

It must not import anything that is not frozen: a complete interpreter runs it before it can read files.
"""

import codecs


class _Utf8Encoder(codecs.IncrementalEncoder):
    def encode(self, text, final=False):
        return codecs.utf_8_encode(text, self.errors)[0]


class _Utf8Decoder(codecs.BufferedIncrementalDecoder):
    _buffer_decode = staticmethod(codecs.utf_8_decode)


class _AsciiEncoder(codecs.IncrementalEncoder):
    def encode(self, text, final=False):
        return codecs.ascii_encode(text, self.errors)[0]


class _AsciiDecoder(codecs.IncrementalDecoder):
    def decode(self, data, final=False):
        return codecs.ascii_decode(data, self.errors)[0]


class _Latin1Encoder(codecs.IncrementalEncoder):
    def encode(self, text, final=False):
        return codecs.latin_1_encode(text, self.errors)[0]


class _Latin1Decoder(codecs.IncrementalDecoder):
    def decode(self, data, final=False):
        return codecs.latin_1_decode(data, self.errors)[0]


def _utf_8_decode(data, errors="strict"):
    return codecs.utf_8_decode(data, errors, True)


_CODECS = {
    "utf_8": (codecs.utf_8_encode, _utf_8_decode, _Utf8Encoder, _Utf8Decoder),
    "ascii": (codecs.ascii_encode, codecs.ascii_decode, _AsciiEncoder, _AsciiDecoder),
    "iso8859_1": (codecs.latin_1_encode, codecs.latin_1_decode, _Latin1Encoder, _Latin1Decoder),
}
_ALIASES = {
    "utf8": "utf_8",
    "us_ascii": "ascii",
    # What zipfile decodes names with; those in our zip are ASCII.
    "cp437": "ascii",
    "latin_1": "iso8859_1",
    "latin1": "iso8859_1",
    "iso_8859_1": "iso8859_1",
}


def normalize_encoding(encoding):
    """Return an encoding's name as _CODECS and _ALIASES have it."""
    return encoding.lower().replace("-", "_").replace(" ", "_")


def _search(name):
    normal = normalize_encoding(name)
    normal = _ALIASES.get(normal, normal)
    if normal not in _CODECS:
        return None
    encode, decode, encoder, decoder = _CODECS[normal]
    return codecs.CodecInfo(
        name=normal.replace("_", "-"),
        encode=encode,
        decode=decode,
        incrementalencoder=encoder,
        incrementaldecoder=decoder,
    )


codecs.register(_search)
