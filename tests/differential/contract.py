"""What holdover has to answer to a pair, by the RFCs and by its own rules, written a second time.

Its own rules are those at the head of `core::chain`, `core::classify`, `core::entry` and
`core::answer`.

The model reads the records that a pair was made of, never the bytes of the reply. Each answer of
holdover is held against it, whether or not the other servers agree.
"""

import dataclasses

import messages
from messages import IN, TYPES, lower, to_wire

ALIASES_MAX = 32
TTL_MAX, NEGATIVE_TTL_MAX = 3600, 30
# Codes that stand for the whole answer, without records.
SERVFAIL = 2
CNAME, DNAME, SOA, RRSIG = TYPES["CNAME"], TYPES["DNAME"], TYPES["SOA"], TYPES["RRSIG"]


@dataclasses.dataclass
class Expected:
    """An answer as it has to be."""

    rcode: int
    records: list = dataclasses.field(default_factory=list)
    ttls: dict = dataclasses.field(default_factory=dict)
    has_soa: bool = False
    remembered: bool = False
    truncated: bool = False
    # Why it is so, in the words by which rules refer to it.
    because: str = "data"


def key(record):
    """Returns what makes two records the same, TTLs apart."""
    rtype = record.rtype if record.rclass == IN else (record.rtype, record.rclass)
    return lower(record.owner), rtype, messages.plain_data(record.data, record.rtype, 0, len(record.data))


def sane(ttl):
    """Returns a TTL as it counts (RFC 2181 §8)."""
    return 0 if ttl >= 2**31 else ttl


def follow(pair):
    """Returns the records of the chain in their order, whether there is an end with data, and its name.

    The end is "data", "nothing" or "endless".
    """
    known = [record for record in pair.answer if record.rclass == IN]
    here, found, seen = lower(pair.qname), [], set()
    wants_data = pair.rcode == 0
    for _ in range(ALIASES_MAX + 1):
        if here in seen:
            return found, "endless", here
        seen.add(here)
        data = [record for record in known if wants_data and lower(record.owner) == here and pair.qtype in (record.rtype, TYPES["ANY"])]
        if data:
            return found + data + signatures(known, here, pair.qtype), "data", here
        alias = next((record for record in known if lower(record.owner) == here and record.rtype == CNAME), None)
        above = next((record for record in known if record.rtype == DNAME and here != lower(record.owner) and messages.is_within(here, record.owner)), None)
        target = None
        if above:
            to, _ = messages.read_name(above.data, 0)
            target = here[:len(here) - len(above.owner)] + lower(to)
        if alias:
            leads, _ = messages.read_name(alias.data, 0)
            if target == lower(leads):
                found.append(above)
            found.append(alias)
            here = lower(leads)
        elif target and len(to_wire(target)) > 255:
            return found, "endless", here
        elif target:
            found += [above, dataclasses.replace(above, owner=here, rtype=CNAME, data=to_wire(target))]
            here = target
        else:
            return found, "nothing", here
    return found, "endless", here


def signatures(known, owner, qtype):
    """Returns the signatures of an RRset."""
    return [record for record in known if record.rtype == RRSIG and lower(record.owner) == owner and int.from_bytes(record.data[:2]) == qtype]


def heard(pair):
    """Returns what comes to holdover in the end: "reply", "truncated", or why there is nothing."""
    if pair.udp == "silent":
        return "reply" if pair.tcp == "reply" else "silence"
    if pair.foreign and pair.tcp != "good":
        return "foreign"
    if pair.udp.startswith("truncated") and pair.tcp != "reply":
        return "truncated" if pair.udp == "truncated with content" else "truncated and empty"
    return "garbled" if pair.garbled else "reply"


def expected(pair):
    """Returns the answer that holdover has to give."""
    comes = heard(pair)
    if comes == "truncated":
        records = pair.answer[:1]
        return Expected(0, [key(record) for record in records], ttls_of(records), truncated=True, because=comes)
    if comes != "reply":
        return Expected(SERVFAIL, because=comes)
    if pair.rcode not in (0, 3):
        return Expected(SERVFAIL, because="code")
    records, ending, end = follow(pair)
    if ending == "endless":
        return Expected(SERVFAIL, because="endless")
    ttls = ttls_of(records)
    least = min((ttls.values()), default=2**31)
    keys = [key(record) for record in records]
    if ending == "data":
        return Expected(0, keys, ttls, remembered=least > 0)
    if pair.rcode == 0 and (reason := nothing(pair, records, end)):
        return Expected(SERVFAIL, because=reason)
    vouching = [record for record in pair.authority if record.rtype == SOA and record.rclass == IN and messages.is_within(end, record.owner)]
    if vouching:
        least = min([least] + [min(sane(record.ttl), sane(int.from_bytes(record.data[-4:]))) for record in vouching])
    because = "denial" if vouching else "denial without SOA"
    return Expected(pair.rcode, keys, {name: min(ttl, NEGATIVE_TTL_MAX) for name, ttl in ttls.items()}, bool(vouching), least > 0, because=because)


def nothing(pair, records, end):
    """Returns why NOERROR without data is no answer; `None` if it is NODATA."""
    names = {lower(pair.qname), end} | {record[0] for record in map(key, records)}
    strays = [record for record in pair.answer if record not in records and record.rtype != RRSIG]
    elsewhere = [record for record in strays if record.rclass != IN or lower(record.owner) not in names]
    if any(record.rclass == IN and record.rtype == pair.qtype for record in elsewhere) or elsewhere and not records:
        return "about something else"
    vouched = any(record.rtype == SOA and messages.is_within(end, record.owner) for record in pair.authority)
    refers = any(record.rtype == TYPES["NS"] for record in pair.authority)
    resolves = pair.flags & messages.RA and not refers
    if not vouched and not records and not strays and not pair.flags & messages.AA and not resolves:
        return "lame"
    return None


def ttls_of(records):
    """Returns the TTL of each RRset: the least of its records (RFC 2181 §5.2)."""
    found = {}
    for record in records:
        of = key(record)[:2]
        found[of] = min(found.get(of, TTL_MAX), sane(record.ttl))
    return found


def departures(pair, first, second):
    """Returns how the answers of holdover depart from the contract, as sentences."""
    wanted, found = expected(pair), []

    def must(holds, words):
        if not holds:
            found.append(words)
    for which, answer in (("first", first), ("second", second)):
        if answer.message is None:
            return [f"the {which} answer is none: {answer.problem}"]
        message = answer.message
        must(message.ident == answer.ident and message.question == answer.question, f"the {which} answer repeats ID and question")
        must(message.flags & messages.QR and message.flags & messages.RA and not message.flags & messages.AA, f"the {which} answer has QR and RA and not AA")
        must(message.flags & messages.CD == pair.query_flags & messages.CD, f"the {which} answer repeats CD")
        must(len(message.opts) == 1, f"the {which} answer has one OPT")
        must(message.rcode != 5, f"the {which} answer is not REFUSED")
    must(first.rcode == wanted.rcode, f"the code is {wanted.rcode}")
    must(first.sequence == wanted.records, f"the answer section holds {len(wanted.records)} records, in their order")
    must(all(abs(first.ttls[of][0] - ttl) <= 20 and first.ttls[of][1] - ttl <= 0 for of, ttl in wanted.ttls.items() if of in first.ttls), f"TTLs are {list(wanted.ttls.values())}")
    must(all(low == high for low, high in first.ttls.values()), "an RRset has one TTL (RFC 2181 §5.2)")
    must(first.has_soa or not wanted.has_soa, "a denial keeps its SOA")
    must(first.is_truncated == wanted.truncated, f"TC is {int(wanted.truncated)}")
    wants_ad = wanted.because not in ("truncated",) and wanted.rcode in (0, 3) and pair.flags & messages.AD and pair.query_flags & messages.AD
    must(bool(first.message.flags & messages.AD) == bool(wants_ad), f"AD is {int(bool(wants_ad))}")
    must(set(pair.errors) <= set(first.message.extended_errors), "extended errors of the upstream are passed on")
    if wanted.rcode == SERVFAIL:
        must({22, 23} & set(first.message.extended_errors), "SERVFAIL says why: 22 or 23")
        must(second.rcode == SERVFAIL, "what failed fails again")
    elif wanted.truncated:
        must(second.rcode == SERVFAIL or second.is_like(first), "a truncated answer is kept for a moment or not at all")
    elif wanted.remembered:
        must(second.is_like(first), "the second answer comes from memory")
    elif wanted.because == "denial" and {3, 19} & set(second.message.extended_errors):
        must(second.is_like(first) and all(low > 0 for low, _ in second.ttls.values()), "a denial with TTL 0 is kept for outages")
    else:
        must(second.rcode == SERVFAIL, "what has no TTL is not used again")
    return found
