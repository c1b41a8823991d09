"""Pairs read backward in time: the rules, the prompt, the model's writer and the checks."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from biomedjourney.rewrite import checks, model_writer, prompt, rules, writers
from biomedjourney.rewrite.ask import Asker
from biomedjourney.rewrite.rules import Change, changes, describe, turned
from biomedjourney.rewrite.study import Study
from tests.helpers import phantom_pairs
from tests.helpers.model_server import INVENTED_FRACTURE, Reply, Request, answer, running, writer_settings

OPPOSITE = {"new": "resolved", "resolved": "new", "worse": "improved", "improved": "worse", "stable": "stable"}
OPPOSITE_STATUS = {"new": "resolved", "resolved": "new", "larger": "smaller", "smaller": "larger"}
SENTENCES = [
    "New small left effusion.", "The left effusion has increased.", "Large right effusion, unchanged.", "No effusion.",
    "The right effusion has resolved.", "Mild edema.", "Worsening edema, now severe.", "Edema has cleared.",
    "Small bilateral effusions.", "The PICC line was removed.", "PICC line in place.", "New right pneumothorax.",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(SENTENCES), max_size=4).map(" ".join)
STUDIES = st.builds(Study, st.dictionaries(st.sampled_from(["edema", "pleural_effusion"]), st.integers(0, 1)), TEXTS)
CHANGES = st.builds(
    Change, st.just("edema"), st.just(""), st.sampled_from(list(OPPOSITE)), st.integers(0, 3), st.integers(0, 3)
)


def both_sides(change: Change) -> list[str]:
    return ["left", "right"] if change.side == "bilateral" else [change.side]


@given(CHANGES)
def test_a_change_turned_twice_is_the_same_change(change: Change) -> None:
    assert turned(turned(change)) == change
    assert turned(change).direction == OPPOSITE[change.direction]
    assert turned(change).severity == change.severity_before


@hypothesis_settings(deadline=None)
@given(STUDIES, STUDIES)
def test_backward_the_same_findings_and_sides_change_in_the_opposite_direction(earlier: Study, later: Study) -> None:
    forward = changes(earlier, later)
    backward = changes(later, earlier, direction="backward")
    assert Counter((c.finding, side, OPPOSITE[c.direction]) for c in forward for side in both_sides(c)) == Counter(
        (c.finding, side, c.direction) for c in backward for side in both_sides(c)
    )
    assert [turned(change) for change in backward] == forward


@pytest.mark.parametrize("phrases", ["seen", "held-out"])
def test_backward_descriptions_of_the_phantom_agree_with_its_truth(phrases: str) -> None:
    score = phantom_pairs.Score()
    for pair in phantom_pairs.pairs(5, 150, phrases):
        backward_pair = phantom_pairs.Pair(
            prior=pair.current,
            current=pair.prior,
            statuses={place: {OPPOSITE[d] for d in directions} for place, directions in pair.statuses.items()},
            stated=[replace(o, status=OPPOSITE_STATUS.get(o.status, o.status)) for o in pair.stated],
        )
        description = describe(pair.current, pair.prior, direction="backward")
        phantom_pairs.judge(backward_pair, description, score)
    assert score.counts["direction"] > 500
    assert score.share("direction") >= 0.97
    assert score.share("mentioned") >= 0.95
    assert score.share("not invented") == 1


def test_both_directions_name_the_same_findings_and_pass_the_same_checks() -> None:
    count = 0
    for pair in phantom_pairs.pairs(6, 150, "all"):
        forward = describe(pair.prior, pair.current)
        backward = describe(pair.current, pair.prior, direction="backward")
        assert Counter((c.finding, c.sides, c.direction) for c in phantom_pairs.read(backward)) == Counter(
            (c.finding, c.sides, OPPOSITE[c.direction]) for c in phantom_pairs.read(forward)
        )
        passed = checks.run(backward, pair.current, pair.prior, "backward")
        assert passed == checks.run(forward, pair.prior, pair.current)
        count += 1
    assert count > 200


@pytest.mark.parametrize(
    ("earlier", "later", "move", "rest"),
    [
        # the earlier report's words of change compare with a film that is older still
        ("New small left effusion.", "The left effusion has increased, now large.", "improved",
         "left pleural effusion, now small"),
        ("Left effusion has decreased, now moderate.", "Left effusion is smaller, now small.", "worse",
         "left pleural effusion, now moderate"),
        ("Edema has resolved.", "New mild edema.", "resolved", "pulmonary edema"),
        ("New large right pneumothorax.", "The right pneumothorax has resolved.", "new", "large right pneumothorax"),
        ("Interval removal of the PICC line.", "A new PICC line is in place.", "resolved", "picc line"),
        # the severity is that of the earlier study
        ("Mild edema.", "Worsening edema, now severe.", "improved", "pulmonary edema, now mild"),
        ("Edema.", "Worsening edema, now severe.", "improved", "pulmonary edema"),
        ("Severe left effusion. Moderate right effusion.", "The effusions have resolved bilaterally.", "new",
         "bilateral pleural effusions"),
        ("Moderate bilateral effusions.", "The effusions have resolved bilaterally.", "new",
         "moderate bilateral pleural effusions"),
    ],
)  # fmt: skip
def test_words_and_severity_of_a_backward_description(earlier: str, later: str, move: str, rest: str) -> None:
    description = describe(Study({}, later), Study({}, earlier), direction="backward")
    assert description in {f"{verb} {rest}" for verb in rules.VERBS[move]}


def test_what_stays_is_stable_with_the_severity_of_the_study_read_to() -> None:
    earlier, later = Study({}, "Large edema is new."), Study({}, "Mild edema is unchanged.")
    assert [(c.direction, c.severity) for c in changes(earlier, later)] == [("stable", 1)]
    assert [(c.direction, c.severity) for c in changes(later, earlier, direction="backward")] == [("stable", 3)]


def test_the_labels_are_compared_in_the_order_of_reading() -> None:
    """The later report's own words say "new"; read backward, only "resolved" agrees with the labels."""
    later, earlier = Study({"edema": 1}, "New mild edema."), Study({"edema": 0}, "No edema.")
    assert checks.run("resolved pulmonary edema", later, earlier, "backward")["check_direction"]
    assert not checks.run("new pulmonary edema", later, earlier, "backward")["check_direction"]
    assert describe(later, earlier, direction="backward") == "resolved pulmonary edema"


def test_the_impression_is_that_of_the_study_read_to() -> None:
    later, earlier = Study({}, "f", "Later ___ impression."), Study({}, "f", "Earlier impression.")
    (draft,) = writers.drafts([(later, earlier)], "impression", {}, "backward")
    assert draft.description == "Earlier impression."


EARLIER = Study({"edema": 0, "pleural_effusion": 1}, "New small left effusion. ___", "Effusion.")
LATER = Study({"edema": 1, "pleural_effusion": 1}, "The left effusion has grown. New edema.", "Increased effusion.")
SETTINGS = {"model": "m", "max_tokens": 400, "requests_per_minute": 1, "tokens_per_minute": 1}


def test_forward_messages_have_the_keys_of_answers_that_are_cached() -> None:
    """These hashes were made before pairs could be read backward. A change of one makes every cached answer useless."""
    prior = Study({}, "Small left effusion. ___")
    current = Study({}, "The left effusion has grown.", "Increased effusion.")
    asker = Asker(SETTINGS, 0, None, None, private=True)  # type: ignore[arg-type]
    messages = prompt.messages(prior, current)
    assert asker.key(messages) == "95b2dd36b095de18ce554779b7a90fce7c5c3a8c2773a676f165009b786b6e82"
    again = prompt.again(messages, "{}", "it is not complete JSON")
    assert asker.key(again) == "aac961eeb511f2c39cf873f475c01917a51a9a9d97ffe782ef3f2333c387636b"
    assert prompt.load().sha256 == "730e7ab72815522141b9a6ac565ef922a271d2387a9bb0c60e741c40d516befc"


def test_the_model_is_told_that_the_pair_is_read_backward() -> None:
    messages = prompt.messages(LATER, EARLIER, "backward")
    system, question = messages[0]["content"], messages[-1]["content"]
    assert "backward in time" in system
    assert "Words of change in the reports refer to the order in which they were taken" in system
    assert question == (
        "EARLIER REPORT\nFINDINGS: New small left effusion.\nIMPRESSION: Effusion.\n\n"
        "LATER REPORT\nFINDINGS: The left effusion has grown. New edema.\nIMPRESSION: Increased effusion."
    )
    assert all("CURRENT REPORT" not in message["content"] for message in messages)
    asker = Asker(SETTINGS, 0, None, None, private=True)  # type: ignore[arg-type]
    assert asker.key(messages) != asker.key(prompt.messages(EARLIER, LATER))
    again = prompt.again(messages, "{}", "it is too long", "backward")
    assert again[-1]["content"].startswith("That answer cannot be used: it is too long.")
    assert again[-1]["content"].endswith("fix this.\n")
    assert prompt.load("backward").sha256 != prompt.load().sha256


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_examples_of_the_prompt_are_good_answers(direction: str) -> None:
    texts = [content for _, content in prompt.load(direction).before[1:]]
    assert len(texts) == 8
    for question, example_answer in zip(texts[::2], texts[1::2], strict=True):
        earlier_text, later_text = question.split("\n\n")
        earlier, later = (Study({}, text.partition(" REPORT\n")[2]) for text in (earlier_text, later_text))
        prior, current = (earlier, later) if direction == "forward" else (later, earlier)
        assert all(checks.run(prompt.description(example_answer), prior, current, direction).values())


def test_the_model_writes_backward_and_the_rules_stand_in_backward(tmp_path: Path) -> None:
    good = answer(
        {
            "changes": [{"finding": "edema", "side": "none", "direction": "resolved", "severity": "unstated"}],
            "description": "resolved pulmonary edema",
        }
    )

    def behave(request: Request) -> Reply:
        question = request.body["messages"][-1]["content"]
        if not question.startswith("EARLIER REPORT"):
            return answer(INVENTED_FRACTURE)
        return good if "Case 1" in question else answer(INVENTED_FRACTURE)

    pairs = [(replace(LATER, impression=f"Case {i}. New edema."), EARLIER) for i in (1, 2)]
    with running(behave) as server:
        settings = writer_settings(server.url, tmp_path)
        by_model, by_rules = model_writer.write(pairs, settings, seed=0, credentialed=True, direction="backward")
        again = [r.body["messages"][-1]["content"] for r in server.requests if len(r.body["messages"]) > 10]
        assert len(again) == 1
        assert again[0].endswith("fix this.\n")
        assert "0 answered in the cache" in model_writer.plan(pairs, settings, seed=0)
        assert "2 answered in the cache" in model_writer.plan(pairs, settings, seed=0, direction="backward")
    assert (by_model.description, by_model.fallback_reason) == ("resolved pulmonary edema", None)
    assert by_rules.fallback_reason == "check_findings"
    assert by_rules.description == describe(*pairs[1], direction="backward")
    assert "resolved pulmonary edema" in by_rules.description
