"""The kinds of replies that deny or fail: denials, codes, truncation, and messages with faults."""

import dataclasses

from kinds import kind
from messages import AA, QR, RA, RD, TYPES, Record, opt, soa, to_name, to_wire


# Denials.

def denied(pair):
    """Denies the name or the type."""
    pair.rcode = pair.chance.choice([0, 3])


@kind(5)
def denial(pair):
    """A denial with its SOA."""
    denied(pair)
    pair.deny(pair.chance.choice([pair.apex, pair.qname]))
    pair.flags |= pair.chance.choice([0, AA])


@kind(2)
def denial_without_soa(pair):
    """A denial without SOA."""
    denied(pair)


@kind(2)
def denial_of_wrong_zone(pair):
    """A denial with the SOA of a zone that does not hold the name."""
    denied(pair)
    pair.deny(pair.chance.choice([to_name("example.net"), pair.below("other"), pair.below("a", "zone")]))


@kind(1)
def denial_ttl_zero(pair):
    """A denial whose SOA has TTL 0 or MINIMUM 0."""
    denied(pair)
    pair.deny(ttl=(ttl := pair.chance.choice([0, 300])), minimum=0 if ttl else 300)


@kind(1)
def denial_ttl_huge(pair):
    """A denial whose SOA has a TTL beyond 2^31."""
    denied(pair)
    pair.deny(ttl=2**31 + 5)


@kind(3)
def denial_after_alias(pair):
    """A chain of aliases whose end is denied."""
    denied(pair)
    pair.answer, _ = pair.chain(pair.chance.choice([1, 2]))
    if pair.chance.random() < 0.6:
        pair.deny()


@kind(1)
def denial_with_data(pair):
    """NXDOMAIN with data of the name."""
    pair.rcode = 3
    pair.answer = pair.data()
    if pair.chance.random() < 0.5:
        pair.deny()


@kind(1)
def soa_in_the_answer(pair):
    """A denial whose SOA stands in the answer section."""
    denied(pair)
    pair.answer = [soa(pair.apex, 300, 60)]


@kind(4)
def empty(pair):
    """NOERROR and nothing else, RA and AA in all combinations."""
    pair.flags = QR | RD | pair.chance.choice([0, RA]) | pair.chance.choice([0, AA])


@kind(2)
def referral(pair):
    """A referral in place of an answer."""
    pair.flags = QR | RD | pair.chance.choice([0, RA])
    pair.authority = [Record(pair.chance.choice([pair.apex, pair.qname, to_name("example.com")]), TYPES["NS"], 300, to_wire(pair.below("ns")))]


# Codes.

@kind(5)
def rcode(pair):
    """Any response code, with or without content."""
    pair.rcode = pair.chance.choice([1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15])
    if pair.chance.random() < 0.3:
        pair.answer = pair.data()
    if pair.chance.random() < 0.3:
        pair.deny()


@kind(2)
def extended_rcode(pair):
    """A response code of more than four bits."""
    high = pair.chance.choice([1, 1, 2, 255])
    pair.rcode, pair.opts = high << 4, [opt(extended_rcode=high, version=0)]


@kind(2)
def bare_error(pair):
    """An error without a question."""
    pair.rcode, pair.edit = pair.chance.choice([1, 2, 4, 5]), lambda wire, query: wire[:4] + bytes(8)


# Truncation.

@kind(4)
def truncated(pair):
    """TC with or without content; over TCP an answer, TC again, or a closed connection."""
    pair.answer = pair.data(count=pair.chance.choice([2, 3]))
    pair.udp = pair.chance.choice(["truncated", "truncated with content"])
    pair.tcp = pair.chance.choice(["reply", "reply", pair.udp, "closed"])


# Not ours.

def mismatch(pair, edit):
    """Makes replies foreign, over UDP or over TCP as well."""
    pair.answer, pair.edit, pair.foreign = pair.data(), edit, True
    pair.tcp = pair.chance.choice(["good", "good", "reply"])


@kind(1)
def wrong_id(pair):
    """Another ID."""
    mismatch(pair, lambda wire, query: bytes([wire[0] ^ 85]) + wire[1:])


@kind(2)
def wrong_question(pair):
    """Another name or type in the question."""
    mismatch(pair, pair.chance.choice([lambda wire, query: wire[:13] + bytes([wire[13] ^ 3]) + wire[14:], _other_type]))


def _other_type(wire, query):
    """Writes another type into the question."""
    at = 12 + len(query.question) - 4
    return wire[:at] + b"\0\x63" + wire[at + 2:]


@kind(1)
def not_a_response(pair):
    """QR is 0."""
    mismatch(pair, lambda wire, query: wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:])


@kind(1)
def other_opcode(pair):
    """Another opcode."""
    mismatch(pair, lambda wire, query: wire[:2] + bytes([wire[2] | 0x20]) + wire[3:])


def records_alone(pair):
    """Returns the answer section without anything to point to."""
    return b"".join(record.wire() for record in pair.answer)


@kind(1)
def no_question(pair):
    """An answer without a question."""
    mismatch(pair, lambda wire, query: wire[:4] + b"\0\0" + wire[6:12] + records_alone(pair))


@kind(1)
def two_questions(pair):
    """The question twice."""
    mismatch(pair, lambda wire, query: wire[:4] + b"\0\2" + wire[6:12] + query.question * 2 + wire[12 + len(query.question):])


# EDNS.

@kind(1)
def two_opts(pair):
    """Two OPTs."""
    pair.answer, pair.opts = pair.data(), [opt(), opt()]


@kind(2)
def opt_in_the_wrong_section(pair):
    """An OPT in the answer or the authority section."""
    pair.answer, pair.opts, pair.garbled = pair.data(), [], True
    pair.chance.choice([pair.answer, pair.authority]).append(opt())


@kind(1)
def unknown_version(pair):
    """An OPT of a version that does not exist."""
    pair.answer, pair.opts = pair.data(), [opt(version=pair.chance.choice([1, 200]))]


@kind(2)
def options(pair):
    """Unknown options, and extended errors."""
    pair.answer = pair.data()
    chosen = pair.chance.choice([b"\xfd\xe9\0\3abc", b"\0\x0f\0\2\0\x09", b"\0\x0f\0\7\0\x04words", b"\0\x0c\0\x10" + bytes(16)])
    pair.errors = [chosen[5]] if chosen[1] == 15 else []
    pair.opts = [opt(options=chosen)]


@kind(1)
def options_cut(pair):
    """An option that is longer than its OPT."""
    pair.answer, pair.opts = pair.data(), [opt(options=b"\0\x0f\0\x20\0\x09")]


@kind(1)
def opt_unasked(pair):
    """An OPT with an owner other than the root."""
    pair.answer, pair.opts = pair.data(), [opt(raw_owner=b"\xc0\x0c")]


@kind(2)
def without_opt_only(pair):
    """FORMERR, NOTIMP or silence to an OPT, and an answer without one."""
    pair.answer, pair.plain = pair.data(), pair.chance.choice(["FORMERR", "FORMERR", "NOTIMP", "silent"])


# Bytes.

@kind(2)
def trailing(pair):
    """Bytes behind the message."""
    pair.answer, pair.edit = pair.data(), lambda wire, query: wire + bytes([0] * 7 + [1])


@kind(2)
def cut(pair):
    """A message that ends too early."""
    pair.answer, pair.garbled, pair.opts = pair.data(count=2), True, []
    lost = pair.chance.choice([1, 5, 12])
    pair.edit = lambda wire, query: wire[:-lost]


@kind(1)
def counts(pair):
    """More records announced than there are."""
    pair.answer, pair.garbled = pair.data(), True
    section = pair.chance.choice([7, 9, 11])
    pair.edit = lambda wire, query: wire[:section] + bytes([wire[section] + 1]) + wire[section + 1:]


@kind(3)
def pointers(pair):
    """Compression pointers that lead to themselves, forward, or beyond the end."""
    pair.answer, pair.garbled = pair.data(), True
    target = pair.chance.choice(["itself", "forward", "beyond"])
    section = pair.chance.choice([pair.answer, pair.answer, pair.authority, pair.additional])
    stray = section[0] if section else Record(pair.apex, TYPES["A"], 300, bytes([192, 0, 2, 3]))
    section[:] = [dataclasses.replace(stray, raw_owner=b"\xff\xfe")]
    if target != "beyond":
        def point(wire, query):
            at = wire.index(b"\xff\xfe")
            return wire[:at] + (0xC000 | at + (12 if target == "forward" else 0)).to_bytes(2, "big") + wire[at + 2:]
        pair.edit = point


@kind(1)
def pointer_in_data(pair):
    """An alias or an MX whose name points to itself."""
    pair.qtype, pair.garbled = TYPES[pair.chance.choice(["CNAME", "MX", "NS", "PTR"])], True
    before = b"\0\1" if pair.qtype == TYPES["MX"] else b""
    pair.answer = [Record(pair.qname, pair.qtype, 300, before + b"\xff\xfe")]

    def point(wire, query):
        at = wire.index(b"\xff\xfe")
        return wire[:at] + (0xC000 | at).to_bytes(2, "big") + wire[at + 2:]
    pair.edit = point


@kind(1)
def alias_with_more(pair):
    """An alias whose RDATA are longer than its name."""
    record = pair.alias(pair.qname, pair.below("c0"))
    pair.answer, pair.garbled = [dataclasses.replace(record, data=record.data + b"\0")] + pair.data(pair.below("c0")), True


@kind(1)
def silence(pair):
    """No reply over UDP, or none at all."""
    pair.answer, pair.udp = pair.data(), "silent"
    pair.tcp = pair.chance.choice(["reply", "closed", "silent"])
