"""The declared systems: their order, their figures in the paper, and where stored pictures lie."""

from biomedjourney import beyond, systems, tables
from biomedjourney.measures import IN_PAPER


def test_systems_come_in_the_order_of_their_declaration_and_others_after_by_name() -> None:
    declared = [system.name for system in systems.DECLARED]
    assert len(set(declared)) == len(declared)
    assert systems.in_order(["zebra", *reversed(declared), "a-fish"]) == [*declared, "a-fish", "zebra"]
    assert systems.in_order(["copy-prior", "biomedjourney"]) == ["biomedjourney", "copy-prior"]


def test_the_figures_of_the_paper_are_fractions_of_measures_that_it_prints() -> None:
    printed, also_printed = ({measure.name for measure in declared} for declared in (IN_PAPER, beyond.IN_PAPER))
    for system in systems.DECLARED:
        assert system.about
        assert set(system.paper) <= printed | also_printed
        assert all(0 < figure < 1 for figure in system.paper.values())
    assert {name for name, system in systems.BY_NAME.items() if printed <= set(system.paper)} == {
        *("biomedjourney", "roentgen", "instruct-pix2pix", "stable-diffusion")
    }
    lungs = {system.name: figure for system in systems.DECLARED if (figure := system.paper.get("lung_dice_prior"))}
    assert lungs == {"biomedjourney": 0.8105, "roentgen": 0.6738, "real-follow-up": 0.7404}


def test_stored_pictures_lie_in_a_table_that_the_triples_name() -> None:
    in_triples = {column.name for column in tables.table("triples").columns}
    for stored in systems.STORED.values():
        assert tables.table(stored.table).key == (stored.key,)
        assert tables.table(stored.table).column_for("png") is not None
        assert stored.column in in_triples


def test_a_stand_in_is_called_one() -> None:
    """A row of the miniature must not pass for the published weights whose name it has."""
    given = {"pipeline": "F", "prior": "none", "text": "report"}
    assert systems.about("stable-diffusion", given) == "Stable Diffusion, published weights"
    for prior, learned in (("none", "drawn shapes with captions"), ("registered", "drawn edits of shapes")):
        said = systems.about("stable-diffusion", given | {"pipeline": None, "prior": prior})
        assert said == f"stand-in that learned from {learned}, in the place of published weights"
    assert systems.printed("stable-diffusion", given) == systems.BY_NAME["stable-diffusion"].paper
    assert systems.printed("stable-diffusion", given | {"pipeline": None}) == {}
    assert not any(map(systems.is_stand_in, (given, {"run": "stage2"}, {"picture": "prior"})))
    assert systems.about("mine", {"run": "stage2"}) == ""
