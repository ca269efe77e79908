"""A pair: a question, and what the upstream replies to it."""

import dataclasses
import random
import struct

from messages import QR, RA, RD, TYPES, Record, soa, to_wire

TTLS = [60, 120, 300, 900, 3600]


@dataclasses.dataclass
class Pair:
    """A question, and what the upstream replies to it.

    `answer`, `authority` and `additional` are records. `edit` changes the bytes of a finished reply.
    `udp` and `tcp` say what becomes of a query over each: "reply", "closed" (TCP), "silent",
    "truncated" (TC and nothing else), "truncated with content", "good" (without what `edit` does).
    `garbled` says that the reply cannot be read, and `foreign` that it does not belong to its query.
    `plain` says that the reply comes for queries without OPT only, and what others get.
    `hidden` are records that the upstream knows, but tells only to those that ask for their owner.
    `errors` are the codes of the extended errors in the reply.
    """

    number: int
    kind: str
    apex: tuple
    qname: tuple
    qtype: int
    chance: random.Random
    query_flags: int = RD
    flags: int = QR | RD | RA
    rcode: int = 0
    answer: list = dataclasses.field(default_factory=list)
    authority: list = dataclasses.field(default_factory=list)
    additional: list = dataclasses.field(default_factory=list)
    opts: list | None = None
    edit: object = None
    garbled: bool = False
    foreign: bool = False
    udp: str = "reply"
    tcp: str = "reply"
    plain: str | None = None
    errors: list = dataclasses.field(default_factory=list)
    hidden: list = dataclasses.field(default_factory=list)

    def below(self, *labels):
        """Returns a name of this pair."""
        return tuple(label.encode() for label in labels) + self.apex

    def ttl(self):
        """Returns a TTL that outlives the test."""
        return self.chance.choice(TTLS)

    def data(self, owner=None, count=1, ttl=None, rtype=None):
        """Returns an RRset of the type asked for."""
        rtype, ttl = rtype or self.qtype, self.ttl() if ttl is None else ttl
        rtype = TYPES["A"] if rtype == TYPES["ANY"] else rtype
        return [Record(owner or self.qname, rtype, ttl, rdata(self, rtype, i)) for i in range(count)]

    def alias(self, owner, target, ttl=None, rtype="CNAME"):
        """Returns an alias."""
        return Record(owner, TYPES[rtype], self.ttl() if ttl is None else ttl, to_wire(target))

    def chain(self, length):
        """Returns a chain of aliases that starts at QNAME, and its last name."""
        names = [self.qname] + [self.below(f"c{i}") for i in range(length)]
        return [self.alias(*two) for two in zip(names, names[1:])], names[-1]

    def is_faulty_over_tcp(self):
        """Returns whether a connection over which this pair is asked for is disturbed."""
        return self.tcp in ("closed", "silent") or self.foreign and self.tcp == "reply"

    def deny(self, zone=None, ttl=None, minimum=None):
        """Puts an SOA into the authority section."""
        self.authority = [soa(zone or self.apex, self.ttl() if ttl is None else ttl, self.ttl() if minimum is None else minimum)]


def rdata(pair, rtype, i):
    """Returns correct RDATA, different for each `i`."""
    target = to_wire(pair.below(f"t{i}"))
    made = {
        "A": bytes([192, 0, 2, i + 1]), "AAAA": bytes.fromhex("20010db8") + bytes(11) + bytes([i + 1]), "NS": target, "PTR": target, "CNAME": target,
        "SOA": soa(pair.apex, 0, 60).data, "MX": struct.pack("!H", i) + target, "TXT": bytes([40]) + b"%040d" % i, "HINFO": b"\3cpu\3o%02d" % i,
        "SRV": struct.pack("!3H", i, 0, 80) + target, "CAA": b"\0\5issueca%02d.test" % i, "TLSA": b"\3\1\1" + bytes([i]) * 32, "SSHFP": b"\1\1" + bytes([i]) * 20,
        "HTTPS": struct.pack("!H", i + 1) + b"\0" + b"\0\1\0\3\2h2", "SVCB": struct.pack("!H", i + 1) + b"\0", "NAPTR": struct.pack("!2H", i, 1) + b"\1u\1x\0" + target,
        "LOC": bytes([0, 0x12, 0x16, 0x13]) + struct.pack("!3I", 2**31 + i, 2**31, 10_000_000), "DNAME": target,
    }
    names = {number: name for name, number in TYPES.items()}
    return made.get(names.get(rtype), bytes([i]) * 7)
