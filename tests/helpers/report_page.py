"""What a reader sees in a table of the report's page: the configuration, printed on the same page, names it all too."""

import re


def table_rows(page: str, section: str) -> dict[str, list[str]]:
    """The cells of each row of a section's first table, without what is set in small type, by the row's heading."""
    table = re.search(rf'<section id="{section}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    assert table is not None, f"section {section} has no table"
    rows = {}
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", re.sub(r"<small>.*?</small>", "", table[1]), re.DOTALL):
        heading, *cells = (re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row))
        assert heading not in rows, f"two rows {heading}"
        rows[heading] = cells
    return rows
