"""What is noticed while a shape becomes words."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from pltfrms.specfile.document import read_bounded
from pltfrms.specfile.findings import Finding, Where
from pltfrms.specfile.shapes.peering import SessionShape
from pltfrms.specfile.shapes.platform import LinkShape

MOST_NAMED = 64_000_000
"""Characters of a file that a spec names: PeeringDB's whole answer fits."""
_MACHINE = 4
"""Words in the path of a machine: datacenters, its datacenter, a section, its name."""


@dataclass(slots=True)
class Notes:
    """Findings about the text and the files that it names, and what the checks must know."""

    directory: Path
    """Names of files are relative to it."""
    findings: list[Finding] = field(default_factory=list)
    sources: dict[Where, tuple[Where, tuple[str, int]]] = field(default_factory=dict)
    """Words that came from a file: path of the word -> path of the file's name, file, line."""
    places: dict[Where, Where] = field(default_factory=dict)
    """Where machines stand in the file that are not in the section of their main role."""
    short: set[Where] = field(default_factory=set)
    """Lists that lack entries because a file that has more of them could not be read."""

    def text_of(self, where: Where, name: str) -> str | None:
        """Return the text of the file that is named at `where`; None, noted, without it."""
        path = self.directory / name
        try:
            if path.is_file():
                text = read_bounded(path, MOST_NAMED)
                if text is not None:
                    return text
                reason = f"it has more than {MOST_NAMED} characters"
            else:
                reason = "there is no such file"
        except (OSError, ValueError) as error:
            reason = str(error)
        hint = "is the path right? it is relative to this file"
        self.findings.append(Finding(where, f"{path} cannot be read: {reason}", hint))
        return None

    def check_capacity(self, where: Where, shape: LinkShape | SessionShape) -> None:
        """Note a capacity of nothing that somebody has written; left out, it is not known."""
        if "capacity" in shape.model_fields_set and shape.capacity == 0:
            what = "must be more than 0"
            hint = "leave it out if it is not known"
            self.findings.append(Finding((*where, "capacity"), what, hint))

    def located(self, finding: Finding) -> Finding:
        """Return the finding about a word with the place from which the word came."""
        place = self.places.get(finding.where[:_MACHINE])
        if place is not None:
            return replace(finding, where=(*place, *finding.where[_MACHINE:]))
        for length in range(len(finding.where), 0, -1):
            if finding.where[:length] in self.sources:
                where, source = self.sources[finding.where[:length]]
                return replace(finding, where=where, source=source)
        return finding
