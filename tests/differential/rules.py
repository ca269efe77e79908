"""The kinds of disagreements between holdover and its peers, each with the reason for it.

A rule is a function marked with `@rule`. Its docstring names the kind. It sees one pair of which
holdover has answered as the contract wants (`contract.departures` has found nothing), and one peer
that has answered otherwise; it says whether it explains all of the difference. The first rule that
does so counts. A rule checks what the peer did as well, so that a change of either side shows.
"""

import dataclasses

import answers
import contract
import servers
from contract import CNAME, DNAME, RRSIG, SERVFAIL, SOA, key, sane
from messages import IN, lower

RULES = []
YXDOMAIN = 6
# Chains of more aliases are given up by Unbound and BIND.
ALIASES_OF_PEERS = 10


@dataclasses.dataclass
class Case:
    """A pair on which holdover and a peer disagree."""

    pair: object
    wanted: contract.Expected
    ours: object
    theirs: object
    differ: set

    @property
    def keys(self):
        """All records of the answer section that the upstream sent."""
        return frozenset(key(record) for record in self.pair.answer)

    @property
    def complete(self):
        """What somebody finds who asks for the target of each alias as well."""
        return frozenset(key(record) for record in servers.derived(self.pair, self.pair.qname, self.pair.qtype)[1])

    def aliases(self, rtype=CNAME):
        """The aliases that the upstream sent."""
        return [record for record in self.pair.answer if record.rtype == rtype]

    def own_aliases(self):
        """The aliases of QNAME."""
        return [record for record in self.aliases() if lower(record.owner) == lower(self.pair.qname)]

    def with_other_ttl(self):
        """The RRsets that the peer gives another TTL."""
        ours = self.ours.first.ttls
        apart = lambda one, other: any(abs(a - b) > answers.SLACK for a, b in zip(one, other))
        return {of for of, ttls in self.theirs.first.ttls.items() if of in ours and apart(ttls, ours[of])}

    def has_soa(self):
        """Whether the upstream sent an SOA in its place."""
        return any(record.rtype == SOA for record in self.pair.authority)


def rule(why):
    """Marks a function as a rule, with its reason."""
    def mark(function):
        RULES.append((function.__doc__.rstrip("."), why, function))
        return function
    return mark


def explain(case):
    """Returns the kind and the reason of a disagreement; `None` if no rule explains it."""
    return next(((kind, why) for kind, why, holds in RULES if holds(case)), None)


# What is not an answer.

@rule("Names are read whole before anything is believed (`core::name`): RFC 1035 §4.1.4, RFC 6891 §6.1.1")
def garbled(case):
    """A message with names, counts or an OPT that are wrong."""
    return case.wanted.because == "garbled" and case.differ == {"code"} and case.theirs.first.rcode == 0 and case.theirs.first.records <= case.keys


@rule("NOERROR with nothing at all and AA=0, without RA or with a referral, is a lame server's (`core::classify`)")
def lame(case):
    """An empty answer of a server that does not resolve."""
    return case.wanted.because == "lame" and case.differ == {"code"} and case.theirs.first.rcode == 0 and not case.theirs.first.records


@rule("Records of other owners say nothing of QNAME, so this is no denial either (`core::classify`, RFC 2308 §2.2)")
def strays_alone(case):
    """Records of other owners only."""
    is_so = case.wanted.because == "about something else" and case.differ == {"code"} and not case.aliases()
    return is_so and case.theirs.first.rcode == 0 and not case.theirs.first.records


@rule("Records of another class do not answer the question (`core::chain`)")
def other_class_alone(case):
    """Records of another class only."""
    is_so = case.wanted.because == "about something else" and all(record.rclass != IN for record in case.pair.answer)
    return is_so and case.differ == {"code"} and case.theirs.first.rcode == 0 and case.theirs.first.records <= case.keys


@rule("Only NOERROR and NXDOMAIN are answers (RFC 8767 §4); the upper bits of the code stand in the OPT (RFC 6891 §6.1.3)")
def codes(case):
    """A response code that says neither yes nor no."""
    if case.wanted.because != "code" or case.differ != {"code"}:
        return False
    if case.pair.rcode > 15:
        return case.theirs.first.rcode == 0 and not case.theirs.first.records
    return case.pair.rcode == YXDOMAIN and case.theirs.first.rcode in (0, YXDOMAIN) and case.theirs.first.records <= case.keys


@rule("A DNAME whose target would be too long leads nowhere, which is YXDOMAIN (RFC 6672 §2.2); clients treat both codes as a failure")
def redirection_too_long(case):
    """A DNAME that makes too long a name."""
    return case.wanted.because == "endless" and case.aliases(DNAME) and case.differ == {"code"} and case.theirs.first.rcode == YXDOMAIN


@rule("Both fail; records in a SERVFAIL mean nothing")
def failure_with_records(case):
    """SERVFAIL with aliases in it."""
    both = case.ours.first.rcode == case.theirs.first.rcode == SERVFAIL
    return both and case.differ <= {"records", "TTL"} and not case.ours.first.records and case.theirs.first.records <= case.keys


# What is an answer all the same.

@rule("The question is asked over TCP when datagrams do not belong to it, or none comes (`core::attempts`)")
def over_tcp(case):
    """Nothing of use over UDP, and an answer over TCP."""
    useless = case.pair.foreign and case.pair.tcp == "good" or case.pair.udp == "silent" and case.pair.tcp == "reply"
    return bool(useless) and case.wanted.because == "data" and case.differ == {"code"} and case.theirs.failed


@rule("An upstream that chokes on an OPT is asked without one: RFC 6891 §6.2.2")
def without_opt(case):
    """An upstream that answers only without OPT."""
    return case.pair.plain is not None and case.wanted.because == "data" and case.differ == {"code"} and case.theirs.failed


@rule("A truncated answer that holds something is the last resort when TCP fails (`core::attempts`)")
def truncated(case):
    """A truncated answer, and no other over TCP."""
    return case.wanted.because == "truncated" and case.differ == {"code"} and case.theirs.failed and case.ours.first.is_truncated


@rule("RDATA are not read, so that those of any type pass (`core::classify`, RFC 3597)")
def odd_data(case):
    """RDATA that their type does not allow."""
    return case.pair.kind == "odd_data" and case.differ == {"code"} and case.theirs.failed


@rule("A chain of up to 32 aliases is one answer (`core::chain`); the peers give up after a dozen")
def long_chain(case):
    """A chain of more than ten aliases."""
    return case.wanted.because == "data" and len(case.aliases()) > ALIASES_OF_PEERS and case.differ == {"code"} and case.theirs.failed


@rule("The first alias counts (`core::chain`); RFC 2181 §10.1 forbids two but does not say that the answer is void")
def two_aliases(case):
    """Two aliases of one name."""
    return len(case.own_aliases()) == 2 and case.wanted.because == "data" and case.differ == {"code"} and case.theirs.failed


@rule("Data of the type at QNAME answer the question, whatever stands beside them (`core::chain`)")
def alias_beside_data(case):
    """An alias beside data of the same name."""
    is_so = len(case.own_aliases()) == 1 and case.wanted.because == "data" and key(case.own_aliases()[0]) not in case.wanted.records
    follows = {key(record) for record in case.own_aliases()} < case.theirs.first.records <= case.keys
    return is_so and case.differ == {"records"} and follows


@rule("The upstream's CNAME is followed, which is what a client without DNAME does (RFC 6672 §3.1); the peers follow the DNAME instead")
def redirection_elsewhere(case):
    """A DNAME, and a CNAME that leads elsewhere."""
    both = case.aliases(DNAME) and case.own_aliases() and case.wanted.because == "data"
    theirs = [of[1] for of in case.theirs.first.sequence]
    return bool(both) and case.pair.kind == "redirection_elsewhere" and case.differ <= {"records", "TTL", "remembered"} and theirs == [DNAME, CNAME]


# What is asked for again.

@rule("Records hang on nothing where a link is missing, so the reply is garbage (`core::classify`); the peers ask for the missing link")
def missing_link(case):
    """A chain with a missing link."""
    return case.wanted.because == "about something else" and case.aliases() and case.differ == {"code"} and case.theirs.first.records == case.complete


@rule("A forwarder gives what the upstream says: an alias that leads to nothing is NODATA that nobody vouches for (`core::classify`); the peers ask for its target")
def target_asked_for(case):
    """An alias whose target is not in the reply."""
    is_so = case.wanted.because == "denial without SOA" and case.own_aliases() and case.pair.rcode == 0 and case.pair.hidden
    return bool(is_so) and "records" in case.differ and case.differ <= {"records", "TTL"} and case.theirs.first.records == case.complete


# Denials.

@rule("A denial after a chain is one answer with one life, that of the denial: at most 30 s (`core::entry`)")
def denial_after_alias(case):
    """The TTL of aliases before a denial."""
    is_so = case.wanted.because.startswith("denial") and case.wanted.records and "TTL" in case.differ
    short = all(high <= contract.NEGATIVE_TTL_MAX for _, high in case.ours.first.ttls.values())
    return bool(is_so) and short and (case.differ == {"TTL"} or case.differ == {"TTL", "remembered"} and not case.theirs.remembered and not case.has_soa())


@rule("A denial without SOA is kept for a short time, though RFC 2308 §5 would not keep it (`core::entry`)")
def denial_without_soa(case):
    """A denial without SOA is remembered."""
    return case.wanted.because == "denial without SOA" and not case.has_soa() and case.differ == {"remembered"} and not case.theirs.remembered


@rule("Such an SOA vouches for nothing, so the denial is one without SOA, and is passed on as it is (`core::classify`)")
def soa_of_wrong_zone(case):
    """A denial with the SOA of another zone."""
    if case.wanted.because != "denial without SOA" or not case.has_soa() or not case.ours.first.has_soa:
        return False
    if case.differ == {"code"}:
        return case.pair.rcode == 0 and case.theirs.failed
    return "SOA" in case.differ and case.differ <= {"SOA", "remembered", "TTL"} and not case.theirs.first.has_soa


@rule("A denial with TTL 0 is not used again, but kept for outages, and then marked as stale (`core::entry`)")
def denial_ttl_zero(case):
    """A denial with TTL 0 in an outage."""
    is_stale = bool({3, 19} & set(case.ours.second.message.extended_errors))
    return case.wanted.because == "denial" and not case.wanted.remembered and is_stale and case.differ == {"remembered"} and not case.theirs.remembered


@rule("NXDOMAIN says that there are no data, so they are dropped (RFC 2308 §2.1)")
def denial_with_data(case):
    """NXDOMAIN with data."""
    data = frozenset(key(record) for record in case.pair.answer if record.rtype == case.pair.qtype)
    if case.pair.rcode != 3 or not data or case.wanted.records:
        return False
    return case.differ == {"code"} and case.theirs.failed or case.differ == {"records"} and case.theirs.first.records == data


@rule("Records of other types at QNAME say that the name exists, and that it has no data of this type (`core::classify`)")
def other_type_alone(case):
    """Records of another type only."""
    at_name = bool(case.pair.answer) and all(lower(record.owner) == lower(case.pair.qname) and record.rtype != case.pair.qtype for record in case.pair.answer)
    is_so = case.wanted.because == "denial without SOA" and case.pair.rcode == 0 and at_name and not case.aliases()
    return is_so and case.differ == {"code"} and case.theirs.failed


@rule("The code denies the name; an SOA outside the authority section vouches for nothing (RFC 2308 §2.1)")
def soa_in_the_answer(case):
    """NXDOMAIN with its SOA in the answer section."""
    in_answer = any(record.rtype == SOA for record in case.pair.answer)
    return in_answer and case.pair.rcode == 3 and not case.ours.first.records and case.differ == {"code"} and case.theirs.failed


# TTLs.

@rule("One RRset has one TTL, the least: RFC 2181 §5.2")
def one_ttl(case):
    """Different TTLs in one RRset."""
    sent = {}
    for record in case.pair.answer:
        sent.setdefault(key(record)[:2], set()).add(sane(record.ttl))
    mixed = {of for of, ttls in sent.items() if len(ttls) > 1}
    apart = case.with_other_ttl()
    is_so = bool(mixed) and case.wanted.because == "data" and case.differ == {"TTL"} and apart <= mixed
    return is_so and all(case.theirs.first.ttls[of][1] <= max(sent[of]) for of in apart)


@rule("A TTL with the top bit is 0: RFC 2181 §8")
def huge_ttl(case):
    """A TTL of 2^31 or more."""
    huge = bool(case.pair.answer) and all(record.ttl >= 2**31 for record in case.pair.answer)
    return huge and case.differ == {"TTL", "remembered"} and case.theirs.remembered and all(ttls == (0, 0) for ttls in case.ours.first.ttls.values())


@rule("A chain lives as long as its shortest TTL, and TTL 0 is never used again (`core::entry`, RFC 1035 §3.2.1)")
def chain_with_ttl_zero(case):
    """A chain with TTL 0 in it."""
    zero = any(sane(record.ttl) == 0 for record in case.aliases())
    return zero and case.wanted.because == "data" and not case.wanted.remembered and case.differ == {"remembered"} and case.theirs.remembered


@rule("The upstream's CNAME keeps its own TTL; the peers make it anew, with the TTL of the DNAME or 0 (RFC 6672 §3.1)")
def redirection_ttl(case):
    """The TTL of a CNAME beside its DNAME."""
    if not case.aliases(DNAME) or case.wanted.because != "data" or not case.differ <= {"TTL", "remembered"}:
        return False
    # A CNAME with TTL 0 lives until the second ends, so that the peer may remember it or not.
    zero = any(of[1] == CNAME and high == 0 for of, (_, high) in case.theirs.first.ttls.items())
    return {of[1] for of in case.with_other_ttl()} <= {CNAME} and (case.theirs.remembered or zero or "remembered" not in case.differ)


# What stands beside the answer.

@rule("A signature is part of the RRset that it covers, and what an upstream sends unasked is passed on; the peers leave it out (RFC 4035 §3.2.1)")
def signature(case):
    """A signature that nobody asked for."""
    return case.differ == {"records"} and all(of[1] == RRSIG for of in case.ours.first.records ^ case.theirs.first.records)


@rule("What does not belong to the answer is dropped, and the answer given (`core::chain`)")
def other_class_beside(case):
    """A record of another class beside the answer."""
    is_so = any(record.rclass != IN for record in case.pair.answer) and case.wanted.because == "data"
    if not is_so:
        return False
    return case.differ == {"code"} and case.theirs.failed or case.differ == {"records"} and case.ours.first.records < case.theirs.first.records <= case.keys
