"""Plans and runs a check: phases, fresh processes, second tries, verdicts as events. Prints nothing."""

from __future__ import annotations

import asyncio
import atexit
import secrets
import shutil
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..checklist import ITEMS, PATTERNS, Assertion, Severity
from .bench import Bench
from .calibration import calibrate
from .custody import Custody
from .declare import declared, unlocks
from .errors import ControlFailed, StartFailed, TargetLost, Untried
from .events import (
    Calibration,
    Event,
    Listener,
    Notice,
    PhaseFinished,
    PhaseStarted,
    ProbeFinished,
    ProbeStarted,
    Run,
    RunFinished,
    RunStarted,
)
from .http.wire import DialFailed
from .leftovers import remove_created, start_first
from .manifest.model import Manifest
from .manifest.variables import with_kind
from .needs import Need, unmet
from .other_ways import try_other_ways
from .phases import PHASES, Phase, Profile
from .probe import Probe
from .read.masking import Masker
from .registry import choose, probe_of
from .run_facts import addresses, learn_secrets, limits, overlay, restart, target_of
from .scratch import scratch_folder
from .stage import RunContext, Stage
from .verdict import Finding, Result, Verdict, Waiver, exit_code, judge_item
from .waivers import covering, is_expired

__all__ = ("Options", "run_check")

# A service that was restarted once and is gone again will not come back for the third probe.
_RESTARTS = 1
_BESIDE_EACH_OTHER = 3
_WORST = tuple(Severity)
_UNTRIED = {Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE}
_REASONED = _UNTRIED | {Verdict.ERROR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a manifest is checked.

    Parameters:
        only: ids, families or items; everything when empty.
        strict: medium assertions decide too, and warnings count as failures.
        allow_inconclusive: how many required assertions may stay without proof.
        second_try: whether a failing assertion is tried again on a fresh process.
        calibrated: whether the machine is measured first.
        allow_writes: whether the check may write where it can have no store of its own.
    """

    only: tuple[str, ...] = ()
    profile: Profile = Profile.FULL
    strict: bool = False
    allow_inconclusive: int = 0
    second_try: bool = True
    calibrated: bool = True
    allow_writes: bool = False


def _nobody(_: Event) -> None:
    pass


async def run_check(manifest: Manifest, options: Options | None = None, listener: Listener = _nobody) -> Run:
    """Check a service and return what was found; when it is cancelled, what was found so far.

    Parameters:
        listener: receives each event as it happens.

    Raises:
        ManifestError: ``only`` names nothing, or the manifest refers to a variable that is not set.
        StartFailed: the service cannot be started at all; nothing was found then.
    """
    manifest = with_kind(manifest)
    folder = scratch_folder("roadworthy-check-")
    runner = _Runner(manifest, options or Options(), listener, folder)
    # When the checker itself is torn down in an orderly way, nothing it started may live on.
    atexit.register(runner.kill)
    try:
        return await runner.run()
    except StartFailed as failed:
        # Its message has the last output of the service.
        raise StartFailed(runner.masker.text(str(failed))) from None
    finally:
        await runner.close()
        atexit.unregister(runner.kill)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True, eq=False)
class _Runner:
    manifest: Manifest
    options: Options
    listener: Listener
    folder: Path
    masker: Masker = field(default_factory=Masker)
    marker: str = field(default_factory=lambda: secrets.token_hex(3))
    custody: Custody | None = None
    results: dict[str, Result] = field(default_factory=dict[str, Result])
    notices: list[str] = field(default_factory=list[str])
    used_waivers: set[Waiver] = field(default_factory=set[Waiver])
    seen_once: dict[str, Result] = field(default_factory=dict[str, Result])
    interrupted: bool = False
    context: RunContext | None = None
    calibration: Calibration | None = None

    async def run(self) -> Run:
        began, clock = datetime.now(UTC), time.monotonic()
        chosen = choose(self.options.only)
        learn_secrets(self.manifest, self.masker)
        allowed = self.options.allow_writes
        self.custody = Custody(self.manifest, self.folder, self.marker, allowed, self._notice)
        await self.custody.prepare()
        self.listener(
            RunStarted(
                target_of(self.manifest), self.options.profile, len(chosen), self._limits(), self._overlay()
            )
        )
        if self.options.calibrated:
            self.calibration = await calibrate()
        self.context = RunContext(
            manifest=self.manifest,
            profile=self.options.profile,
            folder=self.folder,
            masker=self.masker,
            custody=self.custody,
            marker=self.marker,
            slowness=self.calibration.slowness if self.calibration else 1.0,
        )
        try:
            await self._phases(self._plan(chosen))
        except asyncio.CancelledError:
            # Told to stop: what was found so far is worth its report, so this is the end of the run.
            self._break_off(chosen)
        await remove_created(self.context, self._notice)
        return self._finish(chosen, began.isoformat(timespec="seconds"), time.monotonic() - clock)

    # The plan

    def _plan(self, chosen: Sequence[Assertion]) -> dict[Phase, list[Probe]]:
        """Return what each phase has to do; what need not be tried gets its verdict here."""
        plan: dict[Phase, list[Probe]] = {phase: [] for phase in Phase}
        for entry in chosen:
            found = probe_of(entry.id)
            if found is None:
                self._decide(entry, Verdict.INCONCLUSIVE, "there is no probe for this assertion yet")
                continue
            own_process = () if PHASES[found.phase].shared else (Need.COMMAND,)
            missing = unmet(dict.fromkeys((*found.needs, *own_process)), self.manifest)
            if missing:
                self._decide(entry, missing.verdict, missing.reason, undeclared=missing.undeclared)
            elif not found.quick and self.options.profile is Profile.QUICK:
                self._decide(entry, Verdict.INCONCLUSIVE, "left out by --profile quick", left_out=True)
            else:
                plan[found.phase].append(found)
        return {phase: probes for phase, probes in plan.items() if probes}

    def _decide(self, entry: Assertion, verdict: Verdict, reason: str, **more: Any) -> None:
        self._keep(
            Result(
                id=entry.id,
                item=entry.item,
                verdict=verdict,
                severity=entry.severity,
                reason=reason,
                **more,
            )
        )

    async def _phases(self, plan: dict[Phase, list[Probe]]) -> None:
        if not plan:
            return
        assert self.context is not None
        shared = next((phase for phase in plan if PHASES[phase].shared), None)
        first = Stage(self.context, shared or next(iter(plan)))
        # A service that does not start at all ends the run here, before anything is reported.
        await start_first(self.context, first, shared=bool(shared))
        # The phase that has the first process comes first: where the port is fixed, no other can start.
        together = sorted(
            (phase for phase in plan if not PHASES[phase].alone), key=lambda phase: phase is not first.phase
        )
        places = asyncio.Semaphore(_BESIDE_EACH_OTHER if self.manifest.movable else 1)

        async def one(phase: Phase) -> None:
            async with places:
                await self._phase(first if phase is first.phase else self._stage(phase), plan[phase])

        async with asyncio.TaskGroup() as group:
            for phase in together:
                group.create_task(one(phase))
        for phase in plan:
            if phase not in together:
                await one(phase)

    def _stage(self, phase: Phase) -> Stage:
        assert self.context is not None
        return Stage(self.context, phase)

    # One phase

    async def _phase(self, stage: Stage, probes: list[Probe]) -> None:
        began = time.monotonic()
        self.listener(PhaseStarted(stage.phase.value, len(probes)))
        try:
            results = await self._all(stage, probes, reported=True)
        finally:
            await stage.close()
        failing = [
            each
            for each, result in zip(probes, results, strict=True)
            if result.verdict is Verdict.FAIL and self.options.second_try
        ]
        if failing:
            failed = [result for result in results if result.verdict is Verdict.FAIL]
            for result in await self._again(stage.phase, failing, failed):
                self._keep(result)
        self.listener(PhaseFinished(stage.phase.value, round(time.monotonic() - began, 3)))

    async def _all(self, stage: Stage, probes: list[Probe], *, reported: bool) -> list[Result]:
        places = asyncio.Semaphore(PHASES[stage.phase].width if self.manifest.movable else 1)
        restarts = 0

        async def one(each: Probe) -> Result:
            nonlocal restarts
            async with places:
                if stage.lost and restarts < _RESTARTS:
                    restarts += 1
                    self._notice(f"{stage.lost} in the phase {stage.phase.value}; it was started again")
                    await stage.replace_target()
                self.listener(ProbeStarted(each.assertion.id, each.assertion.title, stage.phase.value))
                result = await self._one(stage, each)
            # A failure is reported after its second try, unless nothing is tried twice.
            if reported and (result.verdict is not Verdict.FAIL or not self.options.second_try):
                self._keep(result)
            elif reported:
                self.seen_once[result.id] = result
            return result

        return await asyncio.gather(*(one(each) for each in probes))

    async def _again(self, phase: Phase, failing: list[Probe], results: list[Result]) -> list[Result]:
        """Try what failed once more on a fresh process: what differs is flaky, and flaky is not a finding."""
        stage = self._stage(phase)
        try:
            second = await self._all(stage, failing, reported=False)
        finally:
            await stage.close()
        merged: list[Result] = []
        for result, again in zip(results, second, strict=True):
            reason = f"flaky: fail at first, {again.verdict} on a fresh process"
            flaky = replace(result, verdict=Verdict.INCONCLUSIVE, reason=reason, flaky=True)
            merged.append(result if again.verdict is Verdict.FAIL else flaky)
        return merged

    async def _one(self, stage: Stage, each: Probe) -> Result:
        bench = Bench(each.assertion, each.samples, stage, self.manifest)
        began = time.monotonic()
        verdict, unreachable, left_out = Verdict.ERROR, False, False
        try:
            async with asyncio.timeout(bench.patience(each.seconds)) as bench.deadline.timeout:
                if PHASES[stage.phase].shared or not self.manifest.startable:
                    await bench.use_shared()
                verdict = await each.run(bench)
                if verdict is Verdict.PASS:
                    await try_other_ways(each, bench)
        except ControlFailed as failed:
            verdict = bench.inconclusive(str(failed), undeclared=failed.undeclared)
            left_out = isinstance(failed, Untried)
        except TimeoutError:
            verdict = bench.inconclusive(f"not done within {each.seconds:g} s")
        except (StartFailed, TargetLost) as failed:
            bench.reason, unreachable = str(failed), True
        except DialFailed as failed:
            bench.reason, unreachable = f"the service cannot be reached: {failed}", True
        except Exception as error:
            bench.reason = f"the checker broke: {_where(error)}"
        if bench.findings or verdict is not Verdict.PASS:
            await stage.notice_end()
        if stage.lost:
            self._notice(f"{stage.lost} during {each.assertion.id}")
            unreachable = True
        if stage.lost and not bench.findings:
            verdict, bench.reason = Verdict.ERROR, f"{stage.lost} during this probe"
        elif bench.findings or verdict is Verdict.PASS:
            # What was seen counts, whatever ended the probe; and a pass is only what the bench calls one.
            verdict = bench.verdict()
        return Result(
            id=each.assertion.id,
            item=each.assertion.item,
            verdict=verdict,
            severity=_severity(each.assertion, bench.findings),
            reason=bench.reason if verdict in _REASONED else "",
            undeclared=self._undeclared(bench) if verdict in _UNTRIED else (),
            findings=tuple(bench.findings),
            notes=tuple(bench.notes),
            controls=tuple(bench.controls),
            evidence=tuple(bench.evidence),
            samples=bench.samples,
            wanted=each.samples,
            requests=bench.requests,
            seconds=round(time.monotonic() - began, 3),
            phase=stage.phase.value,
            unreachable=unreachable,
            left_out=left_out and verdict is Verdict.INCONCLUSIVE,
        )

    def _break_off(self, chosen: Sequence[Assertion]) -> None:
        self.interrupted = True
        self._notice("the check was interrupted; what it had not tried yet is inconclusive")
        for entry in chosen:
            if entry.id in self.results:
                continue
            seen = self.seen_once.get(entry.id)
            if seen is None:
                self._decide(entry, Verdict.INCONCLUSIVE, "the check was interrupted")
            else:
                note = "seen once: the check was interrupted before its second try"
                self._keep(replace(seen, notes=(*seen.notes, note)))

    # Results

    def _keep(self, result: Result) -> None:
        result = self.masker.mask(self._waived(result))
        self.results[result.id] = result
        self.listener(ProbeFinished(result))

    def _waived(self, result: Result) -> Result:
        """Put a waiver over a result whose every finding is covered by one that is in force."""
        found = covering(result, self.manifest.waivers)
        self.used_waivers.update(found)
        return replace(result, waived=found[0]) if found else result

    def _notice(self, text: str) -> None:
        text = self.masker.text(text)
        self.notices.append(text)
        self.listener(Notice(text))

    def _finish(self, chosen: Sequence[Assertion], began: str, seconds: float) -> Run:
        assert self.context is not None
        results = tuple(self.results[entry.id] for entry in chosen)
        strict = self.options.strict
        tried = {result.item for result in results}
        run = Run(
            version=version("roadworthy"),
            id=self.context.marker,
            target=self.masker.text(target_of(self.manifest)),
            profile=self.options.profile,
            strict=strict,
            began=began,
            seconds=round(seconds, 3),
            manifest=self.manifest,
            calibration=self.calibration,
            results=results,
            items=tuple(
                judge_item(entry.id, results, strict) for entry in (*ITEMS, *PATTERNS) if entry.id in tried
            ),
            notices=tuple(self.notices),
            addresses=addresses(self.context.first),
            restart=self.masker.text(restart(self.context.first)),
            undeclared=unlocks(result for result in results if self._would_be_tried(result)),
            limits=self._limits(),
            overlay=self._overlay(),
            unused_waivers=tuple(
                each
                for each in self.manifest.waivers
                if each not in self.used_waivers
                and not is_expired(each)
                and any(each.covers(entry.id) for entry in chosen)
            ),
            expired_waivers=tuple(each for each in self.manifest.waivers if is_expired(each)),
            launches=self.context.launches,
            requests=sum(result.requests for result in results),
            exit_code=exit_code(
                results,
                strict=strict,
                allow_inconclusive=self.options.allow_inconclusive,
                interrupted=self.interrupted,
            ),
        )
        self.listener(RunFinished(run))
        return run

    def _would_be_tried(self, result: Result) -> bool:
        found = probe_of(result.id)
        return found is not None and (found.quick or self.options.profile is Profile.FULL)

    def _undeclared(self, bench: Bench) -> tuple[str, ...]:
        return tuple(key for key in bench.undeclared if not declared(key, self.manifest))

    def _limits(self) -> tuple[str, ...]:
        found = (*limits(self.manifest, self.options.profile), self.custody.limit if self.custody else "")
        return tuple(self.masker.text(text) for text in found if text)

    def _overlay(self) -> tuple[str, ...]:
        return tuple(self.masker.text(text) for text in overlay(self.manifest))

    # The end

    def kill(self) -> None:
        for target in self.context.open_targets if self.context else ():
            if target.service is not None:
                target.service.kill()

    async def close(self) -> None:
        try:
            for target in list(self.context.open_targets) if self.context else ():
                assert self.context is not None
                await self.context.close(target)
        finally:
            if self.custody is not None:
                await self.custody.close()


def _severity(entry: Assertion, findings: Sequence[Finding]) -> Severity:
    failing = [finding for finding in findings if finding.verdict is Verdict.FAIL] or findings
    return min((finding.severity for finding in failing), key=_WORST.index, default=entry.severity)


def _where(error: BaseException) -> str:
    """Name an exception and the place it comes from, without the values that a traceback may hold."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
