"""When a step ends for too many refused rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedjourney.errors import UserError
from biomedjourney.refusals import ALLOWED_ROWS, Refusals


@given(st.integers(1, 400), st.floats(0, 1), st.integers(0, 20))
def test_the_step_ends_with_the_first_row_that_is_too_many(total: int, share: float, allowed: int) -> None:
    refusals = Refusals("preprocess", "films", total, share, "preprocess.largest_refused_share", allowed)
    most = max(allowed, int(share * total))
    for _ in range(most):
        refusals.add("blank")
    with pytest.raises(UserError):
        refusals.add("blank")


def test_a_few_rows_may_be_refused_however_small_the_table_is() -> None:
    refusals = Refusals("register", "pairs", 3, 0.05, "register.largest_failed_share")
    for _ in range(ALLOWED_ROWS):
        refusals.add("blank")


def test_the_message_names_the_step_the_most_frequent_reasons_and_the_setting() -> None:
    refusals = Refusals("preprocess", "films", 100, 0.05, "preprocess.largest_refused_share", allowed=0)
    for reason in ("blank", "lateral", "blank", "tiny", "blank"):
        refusals.add(reason)
    with pytest.raises(UserError) as caught:
        refusals.add("upside down")
    assert str(caught.value) == (
        "preprocess: more than 5.0% of 100 films were refused (3 x blank; 1 x lateral; 1 x tiny): "
        "remove the cause, or raise preprocess.largest_refused_share"
    )


def test_rows_that_are_refused_all_at_once_are_told_with_their_number_share_and_first() -> None:
    refusals = Refusals("ingest", "rows of a.csv", 20_000, 0.001, "ingest.largest_refused_share")
    refusals.add_all({"StudyTime is blank": 15, "Rows is blank": 5}, "a.csv, line 2: StudyTime is blank")
    with pytest.raises(UserError) as caught:
        refusals.add_all({"StudyTime is blank": 1}, "a.csv, line 2: StudyTime is blank")
    assert str(caught.value) == (
        "ingest: more than 0.1% of 20000 rows of a.csv were refused (16 x StudyTime is blank; 5 x Rows is blank; "
        "21 in all, 0.105%; the first: a.csv, line 2: StudyTime is blank): "
        "remove the cause, or raise ingest.largest_refused_share"
    )
