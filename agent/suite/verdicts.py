# SPDX-License-Identifier: BSD-2-Clause
"""The suite's section of the results file: what ran, the optimal references, the transients and every verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ccdrl.agent.suite.criteria import CRITERIA, ELSEWHERE, Criterion, Finding
from ccdrl.agent.suite.evidence import Evidence, list_figures
from ccdrl.agent.suite.ranking import rank_all
from ccdrl.agent.suite.rfc9743 import judge_items
from ccdrl.agent.suite.weaknesses import find_weaknesses


@dataclass(frozen=True)
class Verdict:
    """One criterion with every contender's finding."""

    criterion: Criterion
    findings: Mapping[str, Finding]

    def passed(self, cc: str) -> bool | None:
        """Return whether a contender passes, None without a value."""
        return self.criterion.passes(self.findings[cc])


def find_verdicts(evidence: Evidence) -> list[Verdict]:
    """Return all criteria, measured for every contender."""
    return [
        Verdict(criterion, {cc: criterion.measure(evidence, cc) for cc in evidence.contenders})
        for criterion in CRITERIA
    ]


def count_passed(verdicts: list[Verdict], cc: str) -> tuple[int, int]:
    """Return how many criteria a contender passes, and of how many that could be measured."""
    known = [passed for verdict in verdicts if (passed := verdict.passed(cc)) is not None]
    return sum(known), len(known)


def describe_case(evidence: Evidence, name: str) -> dict[str, Any]:
    """Return a scenario's entry: group, summary, tags and optimal references."""
    case = next(case for case in evidence.suite.cases if case.name == name)
    optimum = evidence.optima.get(name)
    references = None
    if optimum is not None:
        references = {
            flow: {"max_min_mbps": optimum.max_min_mbps[flow], "proportional_mbps": optimum.proportional_mbps[flow]}
            for flow in sorted(optimum.max_min_mbps)
        }
    return {
        "scenario": name,
        "group": case.group,
        "summary": case.scenario.summary,
        "tags": sorted(case.tags),
        "optimum": references,
    }


def describe_suite(evidence: Evidence, *, is_complete: bool) -> dict[str, Any]:
    """Return the section `suite`; before all runs are there it has no verdicts."""
    suite = evidence.suite
    section: dict[str, Any] = {
        "kind": suite.kind,
        "seed": suite.seed,
        "cases": [describe_case(evidence, case.name) for case in suite.cases],
        "figures": list_figures(evidence.figures),
    }
    if not is_complete:
        return section
    section["criteria"] = [
        {
            "key": one.criterion.key,
            "topic": one.criterion.topic,
            "text": one.criterion.text,
            "wanted": one.criterion.wanted,
            "findings": {
                cc: {"value": finding.value, "passed": one.passed(cc), "note": finding.note}
                for cc, finding in one.findings.items()
            },
        }
        for one in find_verdicts(evidence)
    ]
    section["elsewhere"] = [{"topic": topic, "wanted": wanted, "why": why} for topic, wanted, why in ELSEWHERE]
    section["ranking"] = [ranking.to_json() for ranking in rank_all(evidence)]
    section["weaknesses"] = [one.to_json() for one in find_weaknesses(evidence)]
    section["rfc9743"] = {
        cc: [
            {
                "section": one.item.section,
                "level": one.item.level,
                "text": one.item.text,
                "scenarios": list(one.scenarios),
                "measured": one.item.criterion.text if one.item.criterion else None,
                "wanted": one.item.criterion.wanted if one.item.criterion else None,
                "value": one.finding.value,
                "note": one.finding.note,
                "verdict": one.verdict,
            }
            for one in judge_items(evidence, cc)
        ]
        for cc in evidence.judged
    }
    return section
