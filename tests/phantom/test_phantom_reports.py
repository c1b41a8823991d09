import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedjourney.phantom import phrases as words
from biomedjourney.phantom.findings import FINDINGS, course, observe, severities
from biomedjourney.phantom.labels import LABELS, complete, label_row, labelled
from biomedjourney.phantom.reports import LAYOUTS, Report, render
from biomedjourney.phantom.state import Findings

NOUN = {
    "pleural_effusion": "effusion|pleural fluid|costophrenic",
    "cardiomegaly": "heart|cardiac|cardiomegaly|cardiomediastinal",
    "consolidation": "consolidat",
    "edema": "edema",
    "pneumothorax": "pneumothorax",
}
SEEDS = st.integers(0, 2**32 - 1)


def flat(text: str) -> str:
    return " ".join(text.split())


def history(seed: int, visits: int = 3) -> tuple[list[Findings], list[Report]]:
    rng = np.random.default_rng(seed)
    states = course(rng, visits)
    priors = [None, *states[:-1]]
    return states, [render(prior, state, rng) for prior, state in zip(priors, states, strict=True)]


@pytest.fixture(scope="module")
def many() -> list[tuple[Findings, Report]]:
    states_and_reports = []
    for seed in range(400):
        states, reports = history(seed)
        states_and_reports += list(zip(states, reports, strict=True))
    return states_and_reports


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_labels_agree_with_the_state_and_the_words(seed: int) -> None:
    for state, report in zip(*history(seed), strict=True):
        for finding in FINDINGS:
            present = any(severities(state, finding))
            label = report.mentions.get(finding)
            assert label != 0 if present else label != 1
            if present:
                assert label in (1, -1)
            if label is not None:
                assert re.search(NOUN[finding], flat(report.text), re.IGNORECASE)
        assert (state.device is not None) <= (report.mentions.get("support_devices") == 1)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(["right", "left"]))
def test_a_new_finding_is_told_on_its_side_alone(seed: int, side: str) -> None:
    severity = (0.7, 0.0) if side == "right" else (0.0, 0.7)
    other = "left" if side == "right" else "right"
    rng = np.random.default_rng(seed)
    report = render(Findings(), Findings(pleural_effusion=severity), rng)
    sentences = [s for s in re.split(r"[.;]", flat(report.text).lower()) if re.search("effusion", s)]
    if report.mentions["pleural_effusion"] == 1:
        assert any(re.search(side, s) for s in sentences)
    if not any(value for name, value in report.mentions.items() if name != "pleural_effusion"):
        # another finding, which a report may also suspect by mistake, can have its own side in the same sentence
        assert not any(re.search(other, s) for s in sentences)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_no_placeholder_is_left_and_lines_are_as_in_mimic(seed: int) -> None:
    for report in history(seed)[1]:
        assert not re.search(r"[{}]|\bNone\b(?!\.| available)|  \.|\.\.", report.text)
        lines = report.text.rstrip("\n").split("\n")
        assert all(line.startswith(" ") for line in lines[1:])
        assert all(len(line) <= 80 for line in lines)


def test_a_resolved_finding_is_denied_and_a_first_report_compares_nothing() -> None:
    ill, well = Findings(pneumothorax=(0.7, 0.0), cardiomegaly=0.6), Findings()
    for seed in range(50):
        report = render(ill, well, np.random.default_rng(seed))
        assert {report.mentions.get(f) for f in FINDINGS} <= {0, -1, None}
        first = flat(render(None, ill, np.random.default_rng(seed)).text)
        assert not re.search(r"\b(new|increased in|unchanged|resolved|has developed|interval (in|de)crease)\b", first)


def test_sections_occur_at_the_rates_of_the_real_reports(many: list[tuple[Findings, Report]]) -> None:
    texts = [report.text for _, report in many]
    concluded = [bool(re.search(r"(IMPRESSION|CONCLUSION):", t, re.IGNORECASE)) for t in texts]
    only_findings = [not c and "FINDINGS:" in t.upper() for c, t in zip(concluded, texts, strict=True)]
    assert np.mean(concluded) == pytest.approx(LAYOUTS["both"] + LAYOUTS["impression"], abs=0.03)
    assert np.mean(only_findings) == pytest.approx(LAYOUTS["findings"], abs=0.03)
    for quirk in (
        "\n Impression:",
        "FINDINGS AND IMPRESSION:",
        "CONCLUSION:",
        "ADDENDUM:",
        "_" * 60,
        "___",
        "COMPARISON:\n",
        "In comparison with the study of ___",
        "1. ",
    ):
        assert any(quirk in text for text in texts), quirk
    assert any(not text.startswith(" ") for text in texts)


def test_about_four_per_cent_of_the_mentions_are_in_doubt(many: list[tuple[Findings, Report]]) -> None:
    values = [report.mentions[f] for _, report in many for f in FINDINGS if f in report.mentions]
    assert np.mean(np.array(values) == -1) == pytest.approx(0.04, abs=0.015)


def test_the_impression_does_not_always_repeat_what_stayed() -> None:
    rng = np.random.default_rng(3)
    same = Findings(cardiomegaly=0.6, pleural_effusion=(0.5, 0.0))
    texts = [render(same, same, rng).text for _ in range(300)]
    ends = [flat(re.split("IMPRESSION:", t)[-1]) for t in texts if "IMPRESSION:" in t and "FINDINGS:" in t]
    silent = [e for e in ends if not re.search("effusion|heart|cardi", e)]
    assert 0.1 < len(silent) / len(ends) < 0.5


def test_phrases_are_held_out() -> None:
    state = Findings(edema=0.6)
    seen, held_out = words.GENERAL["present"]
    assert set(words.GENERAL["present"].of("all")) == set(seen) | set(held_out)
    assert set(words.GENERAL["present"].of("held-out")).isdisjoint(seen)
    assert words.DEGREES["edema"]["moderate"].of("held-out") == ("moderate",)
    texts = {
        which: " ".join(flat(render(None, state, np.random.default_rng(i), phrases=which).text) for i in range(80))
        for which in ("seen", "held-out")
    }
    assert "lung edema" not in texts["seen"].lower()
    assert "interstitial" not in texts["held-out"].replace("increased interstitial markings", "").lower()
    with pytest.raises(ValueError, match="phrases must be one of"):
        render(None, state, np.random.default_rng(0), phrases="some")


def test_a_quarter_of_the_phrases_is_held_out() -> None:
    slots = [*words.GENERAL.values(), *words.SPECIAL.values()]
    share = sum(len(s.held_out) for s in slots) / sum(len(s.seen) + len(s.held_out) for s in slots)
    assert 0.2 < share < 0.45


def test_observations_tell_what_changed() -> None:
    prior = Findings(pleural_effusion=(0.4, 0.0), edema=0.9, cardiomegaly=0.5, device="left picc")
    current = Findings(
        pleural_effusion=(0.9, 0.0), edema=0.4, cardiomegaly=0.52, pneumothorax=(0.0, 0.5), device="endotracheal tube"
    )
    statuses = {(o.finding, o.place): o.status for o in observe(prior, current)}
    assert statuses == {
        ("pleural_effusion", "right"): "larger",
        ("edema", ""): "smaller",
        ("cardiomegaly", ""): "unchanged",
        ("pneumothorax", "left"): "new",
        ("consolidation", ""): "denied",
        ("support_devices", "left picc"): "resolved",
        ("support_devices", "endotracheal tube"): "new",
    }


def test_equal_sides_are_told_together() -> None:
    both = Findings(
        pleural_effusion=(0.6, 0.65), consolidation=((0.0, 0.5), (0.0, 0.45)), cardiomegaly=0.0, pneumothorax=(0.0, 0.0)
    )
    places = {o.finding: o.place for o in observe(None, both) if o.status == "present"}
    assert places == {"pleural_effusion": "bilateral", "consolidation": "bibasilar"}


def test_label_scheme() -> None:
    assert complete({"consolidation": 1, "edema": 0})["lung_opacity"] == 1
    assert "lung_opacity" not in complete({"consolidation": 0})
    assert complete({"consolidation": 0, "support_devices": 1})["no_finding"] == 1
    assert "no_finding" not in complete({"edema": -1})
    row = dict(zip(LABELS, label_row({"edema": -1, "cardiomegaly": 1, "pneumothorax": 0}, LABELS), strict=True))
    assert row["Edema"] == "-1.0"
    assert row["Cardiomegaly"] == "1.0"
    assert row["Pneumothorax"] == "0.0"
    assert row["Pleural Effusion"] == ""


def test_two_per_cent_of_the_labels_are_turned_round() -> None:
    rng = np.random.default_rng(0)
    true = {"edema": 1, "pneumothorax": 0}
    rows = [labelled(true, rng) for _ in range(4000)]
    for finding, value in (("edema", 0), ("pneumothorax", 1), ("cardiomegaly", 1)):
        assert np.mean([row.get(finding) == value for row in rows]) == pytest.approx(0.02, abs=0.008)
