"""What is compared of an answer."""

import struct

import messages
from contract import CNAME, DNAME, SERVFAIL, SOA, key

# Seconds by which TTLs may differ because servers were asked at different times.
SLACK = 25


class Answer:
    """One answer of one server, or that there is none."""

    def __init__(self, asked):
        query, self.wire, self.was_truncated = asked
        self.message, self.problem = None, "silence"
        self.ident, = struct.unpack_from("!H", query)
        self.question = messages.read(query).question
        if self.wire is not None:
            try:
                self.message = messages.read(self.wire)
            except (ValueError, IndexError, struct.error) as problem:
                self.problem = f"cannot be read: {problem}"
        section = self.message.sections[0] if self.message else []
        self.rcode = self.message.rcode if self.message else None
        self.sequence = [key(record) for record in section]
        self.records = frozenset(self.sequence)
        self.ttls = {}
        for of, record in zip(self.sequence, section):
            low, high = self.ttls.get(of[:2], (record.ttl, record.ttl))
            self.ttls[of[:2]] = min(low, record.ttl), max(high, record.ttl)
        self.aliases = [of[:2] for of in self.sequence if of[1] in (CNAME, DNAME)]
        self.has_soa = bool(self.message) and any(record.rtype == SOA for record in self.message.sections[1])
        self.is_truncated = bool(self.message) and bool(self.message.flags & messages.TC)

    def is_like(self, other):
        """Returns whether the other answer says the same."""
        return self.rcode == other.rcode and self.records == other.records

    def text(self):
        """Returns the answer for people, with its bytes."""
        if self.message is None:
            return self.problem
        lines = [f"rcode {self.rcode} flags {self.message.flags:04x} truncated over UDP {self.was_truncated} extended errors {self.message.extended_errors}"]
        for section, records in zip(("answer", "authority", "additional"), self.message.sections):
            lines += [f"    {section}: {messages.describe(record)}" for record in records]
        return "\n".join([*lines, f"    bytes: {self.wire.hex()}"])


class Answers:
    """Both answers of one server to one pair."""

    def __init__(self, first, second):
        self.first, self.second = Answer(first), Answer(second)
        self.failed = self.first.rcode in (None, SERVFAIL)
        self.remembered = not self.failed and self.second.is_like(self.first)


def differences(ours, theirs):
    """Returns in which respects the answers of two servers differ."""
    one, other, found = ours.first, theirs.first, set()
    if (one.rcode, one.message is None) != (other.rcode, other.message is None):
        return {"code"}
    if one.records != other.records:
        found.add("records")
    elif one.aliases != other.aliases:
        found.add("order")
    if any(of in other.ttls and (abs(low - other.ttls[of][0]) > SLACK or abs(high - other.ttls[of][1]) > SLACK) for of, (low, high) in one.ttls.items()):
        found.add("TTL")
    if one.is_truncated != other.is_truncated:
        found.add("TC")
    if not ours.failed and not one.records and one.has_soa != other.has_soa:
        found.add("SOA")
    if not ours.failed and ours.remembered != theirs.remembered:
        found.add("remembered")
    return found
