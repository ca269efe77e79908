"""DNS messages as bytes, also those that no library would write or read.

A name is a tuple of labels (bytes). The reader below is lenient where the contract passes data
through unread, and decompresses the names in RDATA, so that two answers can be compared.
"""

import dataclasses
import struct

IN, CH = 1, 3
# The bits of the header.
AA, TC, RD, RA, AD, CD, QR = 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010, 0x8000
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "AAAA": 28, "LOC": 29, "SRV": 33, "NAPTR": 35, "DNAME": 39,
         "OPT": 41, "SSHFP": 44, "RRSIG": 46, "TLSA": 52, "SVCB": 64, "HTTPS": 65, "ANY": 255, "CAA": 257}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN"}
# Where names stand in RDATA: the bytes before them, and their number.
NAMES_IN_DATA = {2: (0, 1), 5: (0, 1), 6: (0, 2), 12: (0, 1), 15: (2, 1), 33: (6, 1), 39: (0, 1)}


def to_name(text):
    """Returns the name that a text without escapes stands for."""
    return tuple(label.encode("latin-1") for label in text.split(".") if label)


def to_text(name):
    """Returns a name as text, with escapes where they are needed."""
    shown = ["".join(chr(byte) if 33 <= byte < 127 and byte not in b'.\\"' else f"\\{byte:03}" for byte in label) for label in name]
    return ".".join(shown) + "."


def to_wire(name):
    """Returns an uncompressed name as bytes."""
    return b"".join(bytes([len(label)]) + label for label in name) + b"\0"


def lower(name):
    """Returns a name in lower case, as names are compared (RFC 4343)."""
    return tuple(label.lower() for label in name)


def is_within(name, zone):
    """Returns whether a name is a zone or lies below it."""
    return not zone or lower(name)[-len(zone):] == lower(zone)


@dataclasses.dataclass(frozen=True)
class Record:
    """One resource record. `raw_owner` replaces the bytes of its owner name."""

    owner: tuple
    rtype: int
    ttl: int
    data: bytes
    rclass: int = IN
    raw_owner: bytes | None = None

    def wire(self, qname=None):
        """Returns the record as bytes; its owner is a pointer to the question if that has this name."""
        owner = self.raw_owner or (b"\xc0\x0c" if self.owner == qname else to_wire(self.owner))
        return owner + struct.pack("!HHIH", self.rtype, self.rclass, self.ttl, len(self.data)) + self.data


def soa(owner, ttl, minimum):
    """Returns an SOA record."""
    names = to_wire(to_name("ns.example.com")) + to_wire(to_name("host.example.com"))
    return Record(owner, TYPES["SOA"], ttl, names + struct.pack("!5I", 1, 7200, 900, 86400, minimum))


def opt(version=0, extended_rcode=0, options=b"", raw_owner=None):
    """Returns an OPT record (RFC 6891)."""
    return Record((), TYPES["OPT"], extended_rcode << 24 | version << 16, options, 1232, raw_owner)


def read_name(message, at):
    """Returns the name at an offset, and the offset behind it."""
    labels, behind, limit = [], None, at
    while True:
        length = message[at]
        if length >= 0xC0:
            behind = behind or at + 2
            at = struct.unpack_from("!H", message, at)[0] & 0x3FFF
            if at >= limit:
                raise ValueError("a pointer leads forward")
            limit = at
        elif length >= 0x40:
            raise ValueError("a label of a type that does not exist")
        elif length == 0:
            return tuple(labels), behind or at + 1
        else:
            labels.append(bytes(message[at + 1:at + 1 + length]))
            at += 1 + length


def plain_data(message, rtype, at, end):
    """Returns RDATA with their names uncompressed and in lower case; as they stand if they cannot be read."""
    before, count = NAMES_IN_DATA.get(rtype, (0, 0))
    parts, position = [message[at:at + before]], at + before
    try:
        for _ in range(count):
            name, position = read_name(message, position)
            parts.append(to_wire(lower(name)))
    except (IndexError, ValueError, struct.error):
        return message[at:end]
    return b"".join(parts) + message[position:end] if position <= end else message[at:end]


@dataclasses.dataclass
class Message:
    """A message that was read."""

    ident: int
    flags: int
    question: bytes
    qname: tuple
    qtype: int
    sections: list
    opts: list
    extended_errors: list

    @property
    def rcode(self):
        """The response code, with its upper bits from the OPT."""
        return self.flags & 15 | (self.opts[0].ttl >> 24 << 4 if self.opts else 0)


def read(message):
    """Reads a message with one question."""
    ident, flags, questions, *counts = struct.unpack_from("!6H", message)
    if questions != 1:
        raise ValueError(f"{questions} questions")
    qname, at = read_name(message, 12)
    qtype, = struct.unpack_from("!H", message, at)
    question = message[12:at + 4]
    at += 4
    sections, opts, errors = [[], [], []], [], []
    for section, count in zip(sections, counts):
        for _ in range(count):
            owner, at = read_name(message, at)
            rtype, rclass, ttl, length = struct.unpack_from("!HHIH", message, at)
            at += 10
            if at + length > len(message):
                raise ValueError("a record is cut off")
            if rtype == TYPES["OPT"]:
                opts.append(Record(owner, rtype, ttl, message[at:at + length], rclass))
            else:
                section.append(Record(owner, rtype, ttl, plain_data(message, rtype, at, at + length), rclass))
            at += length
    for record in opts:
        rest = record.data
        while len(rest) >= 4:
            code, length = struct.unpack_from("!HH", rest)
            if code == 15 and length >= 2:
                errors.append(struct.unpack_from("!H", rest, 4)[0])
            rest = rest[4 + length:]
    return Message(ident, flags, question, qname, qtype, sections, opts, errors)


def describe(record):
    """Returns a record as text, for people."""
    name = TYPE_NAMES.get(record.rtype, f"TYPE{record.rtype}")
    of_class = "" if record.rclass == IN else f" CLASS{record.rclass}"
    return f"{to_text(record.owner)} {record.ttl}{of_class} {name} {record.data.hex()}"
