"""The kinds of replies that say something: good answers, aliases, and records that do not belong there.

A kind is a function marked with `@kind(weight)`, which changes the pair that it is given. Its name
is the name of the kind, and its weight its share of all pairs.
"""

import dataclasses
import struct

from messages import AA, AD, CD, CH, TYPES, Record, soa, to_name, to_wire
from pair import TTLS

KINDS = {}


def kind(weight):
    """Marks a function as a kind of reply, with its share of all pairs."""
    def mark(function):
        KINDS[function.__name__] = function, weight
        return function
    return mark


# Good answers.

@kind(10)
def good(pair):
    """One RRset of 1 to 40 records."""
    pair.answer = pair.data(count=pair.chance.choice([1, 1, 1, 2, 3, 5, 8, 13, 25, 40]))
    if pair.chance.random() < 0.2:
        pair.authority = [Record(pair.apex, TYPES["NS"], 300, to_wire(pair.below("ns")))]
        pair.additional = pair.data(pair.below("ns"), rtype=TYPES["A"])


@kind(3)
def bits(pair):
    """AA, AD and CD in all combinations."""
    pair.answer = pair.data()
    for bit in (AA, AD, CD):
        pair.flags |= pair.chance.choice([0, bit])


@kind(2)
def duplicates(pair):
    """Records that stand there twice."""
    pair.answer = pair.data(count=3, ttl=300) * 2


@kind(3)
def differing_ttls(pair):
    """An RRset whose records have different TTLs."""
    pair.answer = [dataclasses.replace(record, ttl=ttl) for record, ttl in zip(pair.data(count=3), pair.chance.sample(TTLS, 3))]


@kind(2)
def ttl_zero(pair):
    """TTL 0."""
    pair.answer = pair.data(count=2, ttl=0)


@kind(1)
def ttl_zero_of_one(pair):
    """TTL 0 of one record among others."""
    pair.answer = pair.data(ttl=0) + pair.data(count=2, ttl=300)[1:]


@kind(2)
def ttl_huge(pair):
    """A TTL of 2^31 or more."""
    pair.answer = pair.data(count=2, ttl=pair.chance.choice([2**31, 2**31 + 300, 2**32 - 1]))


@kind(1)
def ttl_largest(pair):
    """The largest TTL that there is."""
    pair.answer = pair.data(ttl=2**31 - 1)


@kind(2)
def other_case(pair):
    """The question and the owner in another case than asked."""
    pair.answer = pair.data(tuple(label.swapcase() for label in pair.qname), count=2)
    if pair.chance.random() < 0.5:
        pair.edit = lambda wire, query: wire[:12] + bytes(byte ^ 32 if 65 <= byte & 0xDF <= 90 else byte for byte in wire[12:16]) + wire[16:]


@kind(3)
def odd_data(pair):
    """RDATA that their type does not allow."""
    pair.qtype = TYPES[pair.chance.choice(["A", "AAAA", "TXT", "MX", "SRV", "SSHFP", "HTTPS", "CAA"])]
    data = {"A": bytes([192, 0, 2]), "AAAA": bytes(17), "TXT": b"\x20abc", "MX": b"\0", "SRV": b"\0\1\0\2", "SSHFP": b"\1", "HTTPS": b"\0\1\0\0\1\0\x09h2", "CAA": b"\0"}
    pair.answer = [Record(pair.qname, pair.qtype, 300, next(value for name, value in data.items() if TYPES[name] == pair.qtype))]


@kind(1)
def any_type(pair):
    """All types of a name at once."""
    pair.qtype = TYPES["ANY"]
    pair.answer = pair.data(rtype=TYPES["A"]) + pair.data(rtype=TYPES["TXT"])


# Aliases.

@kind(4)
def chain(pair):
    """A chain of aliases in the right order."""
    aliases, end = pair.chain(pair.chance.choice([1, 1, 2, 3, 5, 8]))
    pair.answer = aliases + pair.data(end, count=pair.chance.randint(1, 3))


@kind(3)
def chain_wrong_order(pair):
    """A chain of aliases in the wrong order."""
    aliases, end = pair.chain(pair.chance.choice([1, 2, 3, 5]))
    pair.answer = (aliases + pair.data(end, count=2))[::-1]


@kind(2)
def chain_broken(pair):
    """A chain of aliases without one in its middle."""
    aliases, end = pair.chain(3)
    pair.answer, pair.hidden = aliases[:1] + aliases[2:] + pair.data(end), aliases[1:2]


@kind(2)
def chain_without_end(pair):
    """An alias that leads to nothing in this reply."""
    pair.answer, end = pair.chain(pair.chance.choice([1, 2]))
    pair.hidden = pair.data(end)


@kind(2)
def chain_loop(pair):
    """Aliases that lead in a circle."""
    aliases, end = pair.chain(pair.chance.choice([1, 2, 3]))
    pair.answer = aliases + [pair.alias(end, pair.chance.choice([pair.qname, end]))]


@kind(2)
def chain_long(pair):
    """A long chain of aliases."""
    aliases, end = pair.chain(pair.chance.choice([10, 12, 15, 17, 20, 30, 32, 33, 40]))
    pair.answer = aliases + pair.data(end)


@kind(2)
def chain_ttl_zero(pair):
    """A chain of which one link has TTL 0."""
    aliases, end = pair.chain(2)
    pair.answer = [dataclasses.replace(aliases[0], ttl=pair.chance.choice([0, 300])), dataclasses.replace(aliases[1], ttl=0)] + pair.data(end)


@kind(1)
def two_aliases(pair):
    """Two aliases of one name."""
    first, second = pair.below("c0"), pair.below("c1")
    pair.answer = [pair.alias(pair.qname, first, 300), pair.alias(pair.qname, second, 300)] + pair.data(first) + pair.data(second)


@kind(1)
def alias_beside_data(pair):
    """An alias beside data of the same name."""
    pair.answer = [pair.alias(pair.qname, pair.below("c0"))] + pair.data() + pair.data(pair.below("c0"))


@kind(1)
def alias_asked_for(pair):
    """A question for the CNAME itself, perhaps with what it leads to."""
    pair.qtype = TYPES["CNAME"]
    pair.answer = [pair.alias(pair.qname, pair.below("c0"))] + pair.chance.choice([[], pair.data(pair.below("c0"), rtype=TYPES["A"])])


@kind(3)
def redirection(pair):
    """A DNAME, with or without the CNAME that it stands for."""
    pair.qname = pair.below("www", "d")
    pair.answer = [pair.alias(pair.below("d"), pair.below("t"), 300, "DNAME")]
    if pair.chance.random() < 0.6:
        pair.answer.append(pair.alias(pair.qname, pair.below("www", "t"), pair.chance.choice([0, 300])))
    pair.answer += pair.data(pair.below("www", "t"), count=2)


@kind(1)
def redirection_elsewhere(pair):
    """A DNAME, and a CNAME that leads elsewhere."""
    pair.qname = pair.below("www", "d")
    pair.answer = [pair.alias(pair.below("d"), pair.below("t"), 300, "DNAME"), pair.alias(pair.qname, pair.below("c0"), 300)] + pair.data(pair.below("c0"))


@kind(1)
def redirection_too_long(pair):
    """A DNAME that makes a name of more than 255 bytes."""
    pair.qname = (b"a" * 63, b"b" * 63) + pair.below("d")
    pair.answer = [pair.alias(pair.below("d"), (b"e" * 63, b"f" * 63) + pair.apex, 300, "DNAME")]


# What does not belong to the answer.

@kind(3)
def strays_beside(pair):
    """Records of other owners, types or classes beside the answer."""
    stray = pair.chance.choice([pair.data(pair.below("stray"))[0], Record(to_name("victim.example.net"), TYPES["A"], 300, bytes([203, 0, 113, 9])),
                                Record(pair.below("stray"), TYPES["SOA"], 300, soa(pair.apex, 0, 60).data)])
    pair.answer = pair.data(count=2)
    pair.answer.insert(pair.chance.randint(0, 2), stray)


@kind(1)
def other_class_beside(pair):
    """A record of another class beside the answer."""
    pair.answer = pair.data(count=2) + [dataclasses.replace(pair.data()[0], rclass=CH)]


@kind(1)
def other_type_beside(pair):
    """A record of another type of the same name beside the answer."""
    pair.qtype = TYPES["A"]
    pair.answer = pair.data(count=2) + pair.data(rtype=TYPES["TXT"])


@kind(2)
def strays_alone(pair):
    """Records of other owners only."""
    pair.answer = pair.data(pair.chance.choice([pair.below("stray"), to_name("victim.example.net"), pair.apex]))


@kind(1)
def other_class_alone(pair):
    """Records of another class only."""
    pair.answer = [dataclasses.replace(record, rclass=CH) for record in pair.data(count=2)]


@kind(1)
def other_type_alone(pair):
    """Records of another type only."""
    pair.qtype = TYPES["A"]
    pair.answer = pair.data(rtype=TYPES["TXT"])


@kind(1)
def signature_beside(pair):
    """A signature that nobody asked for."""
    pair.answer = pair.data(count=2, ttl=300)
    pair.answer.append(Record(pair.qname, TYPES["RRSIG"], 300, struct.pack("!HBBIIIH", pair.qtype, 13, 3, 300, 2**31 - 1, 1, 7) + to_wire(pair.apex) + bytes(64)))
