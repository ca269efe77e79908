"""The pairs: each follows from the seed and its number alone.

All names of a pair lie below a name of its own, so that what is remembered of one pair says nothing
about another. What kinds of replies there are stands in `kinds` and `faults`.
"""

import random

import faults  # noqa: F401, whose kinds stand in KINDS
from kinds import KINDS
from messages import AD, CD, TYPES, to_name, to_wire
from pair import Pair

DOMAIN = to_name("example.com")
# The names of pairs for which connections to the upstream break or stay silent.
FAULTY = to_name("faulty.example.com")


def one(seed, number, only=None, called=None):
    """Returns the pair of this number, whose names say that it is `called` another one."""
    apex = (b"p%05d" % (number if called is None else called),)
    pair = made(seed, number, apex + DOMAIN, only)
    return made(seed, number, apex + FAULTY, only) if pair.is_faulty_over_tcp() else pair


def made(seed, number, apex, only):
    """Returns the pair of this number with names below `apex`."""
    chance = random.Random(f"{seed}/{number}")
    chosen = only or chance.choices(list(KINDS), [weight for _, weight in KINDS.values()])[0]
    types = ["A"] * 8 + ["AAAA"] * 5 + ["TXT", "TXT", "MX", "MX", "SRV", "SRV", "HTTPS", "HTTPS", "PTR", "NS", "CAA", "TLSA", "SSHFP", "SVCB", "NAPTR", "HINFO", "LOC"]
    qtype = TYPES[chance.choice(types)] if chance.random() < 0.95 else chance.choice([65280, 731, 4711, 65534])
    pair = Pair(number, chosen, apex, shape(chance, apex), qtype, chance)
    for bit in (AD, CD):
        pair.query_flags |= bit if chance.random() < 0.2 else 0
    KINDS[chosen][0](pair)
    return pair


def shape(chance, apex):
    """Returns a name of one of many shapes."""
    made = chance.choice(["www"] * 6 + ["short", "deep", "long", "octets", "underscore", "wildcard", "dash", "digits", "mixed", "mixed", "full"])
    labels = {
        "www": [b"www"], "short": [b"a"], "deep": [b"%d" % i for i in range(chance.randint(5, 60))], "long": [b"x" * 63, b"y" * chance.randint(30, 63)],
        "octets": [bytes([chance.randrange(128, 256), 0, 46, 92]), b"o"], "underscore": [b"_443", b"_tcp"], "wildcard": [b"*"], "dash": [b"-a-"], "digits": [b"192", b"0"],
        "mixed": [bytes(chance.choice((byte, byte ^ 32)) for byte in b"MixedCaseName")], "full": [b"f" * 63, b"g" * 63, b"h" * 63],
    }[made]
    if made == "full":
        # The whole name has 255 bytes, the most that there are.
        labels.append(b"i" * (255 - len(to_wire(tuple(labels) + apex)) - 1))
    if made == "mixed":
        apex = (apex[0].upper(),) + apex[1:]
    return tuple(labels) + apex
