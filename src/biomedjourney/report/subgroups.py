"""How far the groups of one attribute lie apart, and which of them is worst."""

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from biomedjourney.measures import Measure

LEAST_PAIRS = 20  # a group with fewer says little


def gaps(subgroups: pd.DataFrame, declared: Iterable[Measure]) -> list[dict[str, Any]]:
    """One entry per attribute (race, sex, ...): ``attribute``, and ``cells`` with a group and a gap by measure's name.

    ``subgroups``: rows of one system. The group is the one with the lowest value, and the gap is that to the highest.
    Groups of fewer than `LEAST_PAIRS` pairs and those of unknown attribute are left out; a measure that is not defined
    for two groups has no cell, and an attribute without a cell no entry.
    """
    usable = subgroups[(subgroups["n"] >= LEAST_PAIRS) & ~subgroups["group"].str.endswith("=unknown")]
    attributes = usable["group"].map(lambda group: re.split("[<=>]", group)[0])
    entries = []
    for attribute, rows in usable.groupby(attributes, sort=False):
        cells = {}
        for measure in declared:
            values = rows.set_index("group")[measure.name].dropna()
            if len(values) > 1:
                cells[measure.name] = {"group": values.idxmin(), "gap": float(values.max() - values.min())}
        if cells:
            entries.append({"attribute": attribute, "cells": cells})
    return entries
