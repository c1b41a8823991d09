"""The reader of reports: which word belongs to which finding and side, and what the checks make of it."""

from collections import Counter, defaultdict

import pytest

from biomedjourney.rewrite import checks, lexicon, spelling
from biomedjourney.rewrite.language import mentions
from biomedjourney.rewrite.rules import Study, changes, describe
from biomedjourney.rewrite.spans import spans_of
from tests.helpers.report_pairs import is_read_right, report_pairs
from tests.helpers.spoiled import spoiled

PAIRS = tuple(report_pairs())


def told(prior: str, current: str) -> set[str]:
    """Each change as "finding side direction severity", bilateral ones on both sides."""
    return {
        f"{change.finding} {side or '-'} {change.direction} {change.severity}"
        for change in changes(Study(findings=prior), Study(findings=current))
        for side in (("left", "right") if change.side == "bilateral" else (change.side,))
    }


def test_pairs_of_reports_are_read_as_a_careful_reader_reads_them() -> None:
    right: dict[str, list[bool]] = defaultdict(list)
    for pair in PAIRS:
        right[pair.kind].append(is_read_right(pair))
    every = [one for of_kind in right.values() for one in of_kind]
    assert len(every) > 1100
    assert sum(every) / len(every) >= 0.99
    assert min(sum(of_kind) / len(of_kind) for of_kind in right.values()) >= 0.95


# One sentence for each thing that an earlier reader took for another: what must be told, in full.
CASES = {
    "no new finding is no absence": (
        "Moderate right effusion.", "No new effusion.", set()),
    "a denial of a side that was free": (
        "Moderate right effusion. No left effusion.", "No left effusion.", set()),
    "a denial of a large one": (
        "Small right effusion.", "No large effusion.", set()),
    "an adverb of change is no size": (
        "Large left effusion.", "The left effusion is moderately decreased.", {"pleural_effusion left improved 0"}),
    "a small increase is no small effusion": (
        "Moderate left effusion.", "Small increase in the left effusion.", {"pleural_effusion left worse 0"}),
    "a past size": (
        "Large left pneumothorax.", "The left pneumothorax, formerly large, is small.",
        {"pneumothorax left improved 1"}),
    "from one size to another": (
        "Small left pneumothorax.", "The left pneumothorax has grown from small to large.",
        {"pneumothorax left worse 3"}),
    "two sizes in one phrase": (
        "Small bilateral effusions.", "Large left and small right effusions.",
        {"pleural_effusion left worse 3", "pleural_effusion right stable 1"}),
    "two sides, two changes": (
        "Bilateral opacities.", "Opacities have improved on the left and worsened on the right.",
        {"lung_opacity left improved 0", "lung_opacity right worse 0"}),
    "the other side without its noun": (
        "Bilateral effusions.", "The right effusion has resolved. The left is larger.",
        {"pleural_effusion right resolved 0", "pleural_effusion left worse 0"}),
    "the change of something else": (
        "Mild edema.", "Inspiratory effort has improved. Mild edema is unchanged.", {"edema - stable 1"}),
    "a tube that is moved": (
        "Left chest tube.", "The left chest tube has been pulled back by 4 cm.", {"chest_tube left stable 0"}),
    "a tube that is pulled": (
        "Left chest tube.", "The left chest tube has been pulled.", {"chest_tube left resolved 0"}),
    "one tube for another": (
        "Left subclavian line.", "The left subclavian line was replaced by a right PICC.",
        {"central_line left resolved 0", "picc right new 0"}),
    "extubation": (
        "Endotracheal tube in place.", "Interval extubation.", {"endotracheal_tube - resolved 0"}),
    "a rejected finding": (
        "Lungs are clear.", "Atelectasis rather than pneumonia at the left base.", {"atelectasis left new 0"}),
    "history": (
        "Lungs are clear.", "In this woman with known congestive heart failure, the lungs are clear.", set()),
    "a recommendation": (
        "Right pneumonia.", "Right pneumonia is unchanged. Radiographs are advised to confirm its resolution.",
        {"pneumonia right stable 0"}),
    "a template": (
        "Pleura: no effusion.", "Pleural effusion: right, small, new.", {"pleural_effusion right new 1"}),
    "a side as a label": (
        "Lungs are clear.", "Left lung: new consolidation. Right lung: clear.", {"consolidation left new 0"}),
    "a pronoun": (
        "Left effusion.", "There is a left effusion. It has decreased.", {"pleural_effusion left improved 0"}),
    "a measure before its noun": (
        "Lungs are clear.", "A 2.5 cm right apical nodule, previously 2.0 cm.", {"lung_lesion right worse 0"}),
    "a size of the past beside its noun": (
        "Small left effusion.", "The small left effusion seen on the prior film has resolved.",
        {"pleural_effusion left resolved 0"}),
    "a lobe that is clear again": (
        "Right lower lobe consolidation.", "The right lower lobe has cleared.", {"consolidation right resolved 0"}),
    "a measure": (
        "Left apical mass, 31 mm.", "The left apical mass measures 4.6 cm, previously 31 mm.",
        {"lung_lesion left worse 0"}),
    "an angle that is sharp again": (
        "Small left effusion.", "The left costophrenic angle is sharp.", {"pleural_effusion left resolved 0"}),
    "better aeration": (
        "Left basilar atelectasis.", "The left base is better aerated.", {"atelectasis left improved 0"}),
    "worse aeration": (
        "Left basilar atelectasis.", "Decreased aeration of the left base.", {"atelectasis left worse 0"}),
    "dictation": (
        "R PTX, small.", "R pnuemothorax unchagned, new sm L effussion.",
        {"pneumothorax right stable 0", "pleural_effusion left new 1"}),
    "a port at a tube's side": (
        "Nasogastric tube in the stomach.", "The side port of the nasogastric tube is below the diaphragm.",
        {"enteric_tube - stable 0"}),
}  # fmt: skip


@pytest.mark.parametrize(("prior", "current", "wanted"), CASES.values(), ids=CASES)
def test_words_belong_to_their_own_finding(prior: str, current: str, wanted: set[str]) -> None:
    assert told(prior, current) == wanted


@pytest.mark.parametrize("slip", ["atelctasis", "atelectesis", "atelectasiss", "ateelctasis", "atelectais"])
def test_a_slip_of_dictation_is_read_as_the_word_of_the_lexicon(slip: str) -> None:
    assert [m.finding for m in mentions(f"New {slip}.")] == ["atelectasis"]


def test_no_word_of_a_finding_and_no_english_word_is_taken_for_a_slip() -> None:
    texts = " ".join(f"{pair.prior.findings} {pair.current.findings}" for pair in PAIRS).lower()
    terms = {word for word in spelling.WORD.findall(texts) if any(s.kind == "finding" for s in spans_of(word))}
    assert len(terms) > 40
    for word in (*terms, "infusion", "perfusion", "unilateral", "deceased", "displaced", "engorgement", "hemithorax"):
        before = {s.value for s in spans_of(word) if s.kind == "finding"}
        (sentence,) = spelling.sentences(word)
        after = {s.value for s in spans_of(sentence) if s.kind == "finding"}
        assert after == before, word


def test_a_slip_as_near_to_two_words_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "SPELLINGS", frozenset(("edema", "edima")))
    assert spelling.sentences("edxma") == ["edxma"]


def test_plurals_are_written_as_they_are_spelled() -> None:
    prior, current = Study(findings="Lungs are clear."), Study(findings="New bilateral opacities.")
    assert describe(prior, current) == "new bilateral opacities"


def test_the_checks_refuse_what_is_spoiled_and_let_pass_what_is_right() -> None:
    refused: Counter[str] = Counter()
    count: Counter[str] = Counter()
    right_pairs = [pair for pair in PAIRS if is_read_right(pair)][::4]
    for pair in right_pairs:
        description = describe(pair.prior, pair.current)
        count["right"] += 1
        refused["right"] += not all(checks.run(description, pair.prior, pair.current).values())
        for kind, wrong in spoiled(description, pair.prior, pair.current):
            count[kind] += 1
            refused[kind] += not all(checks.run(wrong, pair.prior, pair.current).values())
    assert count["right"] > 150
    assert refused["right"] / count["right"] <= 0.02
    for kind in ("side", "direction", "size", "finding", "added"):
        assert count[kind] > 30
        assert refused[kind] / count[kind] >= 0.95, kind


@pytest.mark.parametrize(
    ("description", "check"),
    [
        ("decreased right pleural effusion, now moderate", "check_direction"),
        ("larger right pleural effusion, now small", "check_size"),
        ("larger left pleural effusion, now moderate", "check_sides"),
        ("larger right pleural effusion, now moderate; new edema", "check_findings"),
        ("no pleural effusion", "check_findings"),
        ("no significant change", "check_direction"),
        ("improved appearance", "check_direction"),
        ("larger right pleural effusion, now moderate; worsening picc line", "check_direction"),
    ],
)
def test_a_description_is_held_against_what_both_reports_say(description: str, check: str) -> None:
    prior = Study(findings="Small right pleural effusion. Right PICC. No edema.")
    current = Study(
        findings="The right pleural effusion has increased and is moderate. Right PICC unchanged. No edema."
    )
    right = "larger right pleural effusion, now moderate; unchanged right picc line"
    assert all(checks.run(right, prior, current).values())
    assert all(checks.run("larger right pleural effusion, otherwise no change", prior, current).values())
    assert [name for name, passed in checks.run(description, prior, current).items() if not passed] == [check]
