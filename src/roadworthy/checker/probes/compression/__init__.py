"""Probes of ``compression`` (CMP)."""

from __future__ import annotations

from ....checklist import Dimension, Severity
from ...bench import Bench
from ...http.codings import CODINGS, Undecodable, decode
from ...http.fetch_standard import words
from ...http.fields import cache_control, entity_tag
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...verdict import Verdict
from ..shared.survey import asks
from .facts import CHANGES, TRIES, Facts, ask, ask_between, negotiated, resource, same_text, used_codings
from .framing import codings_and_lengths_are_true, streams_are_not_held_back

__all__ = ("PROBES",)

# Less than a fifth saved on text is no compression worth its time.
_SAVED = 0.8


async def _judge_coded(bench: Bench, facts: Facts, coding: str, answer: Answer) -> None:
    """Judge one coded variant: there, in the coding that was asked for, whole, the same, and smaller."""
    plain, used = len(facts.plain.body), used_codings(answer)
    bench.sample()
    if not answer.ok:
        bench.fail(
            "the request for the compressed variant fails", str(facts.plain.status), str(answer), answer
        )
        return
    if used[0].removeprefix("x-") != coding:
        expected, got = f"{coding} or plain", ", ".join(used)
        bench.fail("a coding was used that was not asked for", expected, got, answer)
    same: bool | None = None
    body = b""
    for _ in range(TRIES):
        try:
            body = decode(used_codings(answer), answer.body)
        except Undecodable as error:
            expected = f"a body in {', '.join(used)}"
            bench.fail("the compressed body cannot be decoded", expected, str(error), answer)
            return
        same = same_text(body, *facts.around[coding])
        if same is not None:
            break
        answer = await ask_between(bench, facts, coding)
    if same is None:
        bench.missed(f"the text in {coding}", CHANGES.format(facts.path))
    elif not same:
        expected, got = f"{plain} bytes as in the plain variant", f"{len(body)} other bytes"
        bench.fail("the compressed body decodes to something else", expected, got, answer)
    elif len(answer.body) > plain * _SAVED:
        got = f"{len(answer.body)} of {plain} bytes"
        bench.fail("compression saves less than a fifth", f"at most {plain * _SAVED:.0f} bytes", got, answer)
    bench.note(f"{coding}: {plain} → {len(answer.body)} bytes")


@probe("CMP-1", phase=Phase.SERVE, needs=(Need.COMPRESSION,))
async def _a_large_text_is_compressed(bench: Bench) -> Verdict:
    """Asks for a large text with one coding at a time, decodes it, and compares with the plain variant."""
    facts = await resource(bench)
    plain = len(facts.plain.body)
    if not facts.coded:
        if bench.way.version == "1.0":
            # nginx and H2O by default leave out what the caches of HTTP/1.0 would hand to others.
            return bench.not_applicable("nothing is compressed")
        bench.sample()
        got = f"plain, {plain} bytes"
        return bench.fail("a large text is never compressed", "Content-Encoding", got, facts.refused["gzip"])
    for coding, answer in facts.coded.items():
        await _judge_coded(bench, facts, coding, answer)
    if "gzip" not in facts.coded:
        bench.warn("gzip, which every client knows, is not offered", "gzip", ", ".join(facts.coded))
    return bench.verdict()


def _varies(answer: Answer) -> set[str]:
    return {word.lower() for word in words(answer, "vary")}


@probe("CMP-2", phase=Phase.SERVE, needs=(Need.COMPRESSION,), samples=2)
async def _both_variants_say_vary(bench: Bench) -> Verdict:
    """Compares Vary on the plain and the compressed variant of the large text."""
    facts = await negotiated(bench)
    coded = facts.coded[facts.usual]
    for kind, answer in (("plain", facts.plain), ("compressed", coded)):
        # What is not stored cannot be handed to the wrong client; still, a proxy may be configured to store.
        stored = "no-store" not in cache_control(answer).names
        bench.expect(
            {"accept-encoding", "*"} & _varies(answer),
            f"the {kind} variant does not say Vary: Accept-Encoding",
            "Vary with Accept-Encoding",
            answer.field("vary") or "no Vary",
            answer,
            severity=None if stored else Severity.INFO,
        )
    if not bench.findings and _varies(facts.plain) != _varies(coded):
        bench.fail(
            "the variants say different Vary",
            facts.plain.field("vary") or "",
            coded.field("vary") or "",
            facts.plain,
            coded,
        )
    return bench.verdict()


# Each with the codings that must not be used for it; identity has no field and is always allowed here.
_FORBIDDING: tuple[tuple[str, frozenset[str]], ...] = (
    ("gzip;q=0", frozenset(CODINGS)),
    ("gzip;q=0.000, identity", frozenset(CODINGS)),
    ("gzip ; Q=0", frozenset(CODINGS)),
    ("identity", frozenset(CODINGS)),
    ("br;q=1, gzip;q=0", frozenset({"gzip", "zstd", "deflate"})),
    ("gzip;q=1, br;q=0, zstd;q=0", frozenset({"br", "zstd", "deflate"})),
    ("*;q=0, identity", frozenset(CODINGS)),
    ("gzip;q=0, *;q=1", frozenset({"gzip"})),
)


@probe("CMP-3", phase=Phase.SERVE, needs=(Need.COMPRESSION,), samples=8)
async def _forbidden_codings_are_not_used(bench: Bench) -> Verdict:
    """Forbids codings with q=0, alone, with a wildcard and by leaving them out, and reads what comes."""
    facts = await negotiated(bench)
    for accepted, forbidden in _FORBIDDING:
        answer = await ask(bench, facts, accepted)
        used = {coding.removeprefix("x-") for coding in used_codings(answer)}
        bench.expect(
            not used & forbidden,
            "a coding was used that the client forbids",
            f"without {', '.join(sorted(forbidden & {'gzip', *facts.coded}))}, as {accepted!r} says",
            f"Content-Encoding: {', '.join(used_codings(answer))}",
            answer,
            # No client writes it so; that the grammar has it is no harm to anybody.
            severity=Severity.LOW if "Q=" in accepted else None,
        )
    return bench.verdict()


@probe("CMP-4", phase=Phase.SERVE, needs=(Need.COMPRESSION,), samples=4)
async def _nothing_acceptable_is_no_failure(bench: Bench) -> Verdict:
    """Accepts only what cannot be had: a coding that does not exist, nothing at all, garbage."""
    facts = await negotiated(bench)
    for accepted in ("roadworthy-none", "identity;q=0", "*;q=0", "identity;q=0, *;q=0", ";;q=,=", "gzip;q=x"):
        answer = await ask(bench, facts, accepted)
        bench.sample()
        expected = "406, or 2xx with the plain body"
        if not answer.complete or answer.status >= 500:
            bench.fail("a client that accepts nothing on offer gets an error", expected, str(answer), answer)
        elif not answer.ok and answer.status != 406:
            severity = Severity.INFO if ";q=x" in accepted or ";;" in accepted else None
            title = "a client that accepts nothing on offer is refused with another status"
            bench.warn(title, expected, str(answer), answer, severity=severity)
    return bench.verdict()


@probe("CMP-5", phase=Phase.SERVE, needs=(Need.COMPRESSION,), samples=2)
async def _the_preferred_coding_is_used(bench: Bench) -> Verdict:
    """Prefers each of two codings in turn by weight, writes names in capitals, and asks without the field."""
    facts = await negotiated(bench)
    offered = list(facts.coded)[:2]
    for one, other in (offered, offered[::-1]) if len(offered) == 2 else ():
        accepted = f"{one};q=0.1, {other};q=1"
        answer = await ask(bench, facts, accepted)
        bench.expect(
            other in used_codings(answer),
            "another coding than the preferred one was used",
            f"{other}, as {accepted!r} says",
            ", ".join(used_codings(answer)) or "plain",
            answer,
        )
    answer = await ask(bench, facts, facts.usual.upper())
    bench.expect(
        used_codings(answer),
        "a coding whose name is in capitals is not used",
        facts.usual,
        "plain",
        answer,
    )
    answer = await ask(bench, facts, None)
    bench.sample()
    if used_codings(answer):
        # RFC 9110 §12.5.3 allows any coding then; a client that does not decode does not say so either.
        bench.warn(
            "a client without Accept-Encoding gets a coding", "plain", ", ".join(used_codings(answer)), answer
        )
    return bench.verdict()


@probe(
    "CMP-6",
    phase=Phase.SERVE,
    needs=(Need.COMPRESSION,),
    varies=(Dimension.ROUTE, Dimension.STATUS, Dimension.SIZE),
)
async def _nothing_grows(bench: Bench) -> Verdict:
    """Asks for a response of each kind with a coding, and compares the sizes of its body with and without."""
    facts = await negotiated(bench)
    for answer in (await bench.shared(_coded_of_all)).values():
        used = used_codings(answer)
        try:
            plain = decode(used, answer.body) if answer.complete else b""
        except Undecodable:
            continue  # CMP-1 and CMP-8 judge what is no coding
        if not plain:
            continue
        bench.expect(
            not used or len(answer.body) < len(plain),
            "compression made a body larger",
            f"less than {len(plain)} bytes",
            f"{len(answer.body)} bytes in {', '.join(used)}",
            answer,
        )
    bench.control(f"{facts.path} is compressed", facts.coded)
    return bench.verdict()


async def _coded_of_all(bench: Bench) -> dict[str, Answer]:
    """Return a response of each kind, asked for with every coding."""
    accepted = {"Accept-Encoding": ", ".join(CODINGS)}
    return {kind: await send(accepted) for kind, send in (await asks(bench)).items()}


@probe("CMP-7", phase=Phase.SERVE, needs=(Need.COMPRESSION,), samples=2)
async def _variants_have_their_own_validators(bench: Bench) -> Verdict:
    """Compares the ETag of the variants, and asks for each again with If-None-Match."""
    facts = await negotiated(bench)
    for _ in range(TRIES):
        plain, coded = await ask(bench, facts, "identity"), await ask(bench, facts, facts.usual)
        tags = {"identity": plain.field("etag"), facts.usual: coded.field("etag")}
        if not any(tags.values()):
            return bench.not_applicable(f"{facts.path} has no ETag, so there is no validator to share")
        again = [
            (accepted, await ask(bench, facts, accepted, If_None_Match=tag))
            for accepted, tag in tags.items()
            if entity_tag(tag)
        ]
        if (await ask(bench, facts, "identity")).body == plain.body:
            break
    else:
        bench.missed("the ETags", CHANGES.format(facts.path))
        return bench.verdict()
    strong = entity_tag(tags["identity"])
    for accepted, answer in (("identity", plain), (facts.usual, coded)):
        if tags[accepted] and not entity_tag(tags[accepted]):
            title = "an ETag is not one, so no client and no cache can ask with it"
            bench.warn(title, "a text in quotes, or W/ before it", tags[accepted] or "", answer)
    bench.expect(
        not (strong and not strong.is_weak and tags["identity"] == tags[facts.usual]),
        "two variants share a strong ETag",
        "different ETags, or a weak one",
        f"ETag: {tags[facts.usual]} on both",
        plain,
        coded,
    )
    for accepted, answer in again:
        bench.expect(
            answer.status == 304 and answer.complete and not answer.body,
            "a conditional request is answered with the whole body",
            f"304, since {tags[accepted]} is current",
            str(answer),
            answer,
        )
    if sum(map(bool, tags.values())) == 1:
        bench.note("only one of the variants has an ETag")
    return bench.verdict()


PROBES: tuple[Probe, ...] = (
    _a_large_text_is_compressed,
    _both_variants_say_vary,
    _forbidden_codings_are_not_used,
    _nothing_acceptable_is_no_failure,
    _the_preferred_coding_is_used,
    _nothing_grows,
    _variants_have_their_own_validators,
    codings_and_lengths_are_true,
    streams_are_not_held_back,
)
