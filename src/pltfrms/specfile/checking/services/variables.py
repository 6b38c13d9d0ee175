"""Variables of a service that have no value on a platform."""

from collections.abc import Iterator

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.references import references_of, referred
from pltfrms.model.services.service import Run, ServiceSpec
from pltfrms.specfile.findings import Finding, Where


def check_variables(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Find variables without which no instance can be started."""
    for variable in references_of(spec.run):
        if referred(variable)[0] == spec.name:
            for where, row in _uses(spec, variable):
                own = f"${{pltfrms.{referred(variable)[1].replace('address', 'prefix')}}}"
                yield Finding(where, f"{spec.name} names itself", f"its own is {own}", row=row)
    if platform.infrastructure4 is None:
        hints = {
            "address4": "take ${pltfrms.address6}, or ${pltfrms.prefix4} of the service",
            "replica.address4": "take ${pltfrms.replica.address6}",
        }
        for variable, hint in hints.items():
            what = f"${{pltfrms.{variable}}} has no value: the infrastructure has no IPv4"
            for where, row in _uses(spec, variable):
                yield Finding(where, what, hint, row=row)


def variable_notes(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Yield where the prefix of a family is used that the service has not got."""
    for family, other in ((4, 6), (6, 4)):
        if family in families_of(spec, platform):
            continue
        for where, row in _uses(spec, f"prefix{family}"):
            what = f"${{pltfrms.prefix{family}}} is empty: the service has no IPv{family}"
            hint = f"right if the program can do with nothing; else ${{pltfrms.prefix{other}}}"
            yield Finding(where, what, hint, row=row)


def words_of(run: Run) -> Iterator[tuple[Where, str]]:
    """Yield every word of the command that a spec says, with where it stands."""
    box = run.container
    command, args = (box.command, box.args) if box else ((), ())
    for field, words in (("process", run.process), ("command", command), ("args", args)):
        for index, word in enumerate(words):
            yield ("run", field, index), word


def families_of(spec: ServiceSpec, platform: Platform) -> set[int]:
    """Return the families in which a service would have an address."""
    if spec.addresses:
        return {address.version for address in spec.addresses}
    return {each.prefix.version for each in platform.service_aggregates}


def _uses(spec: ServiceSpec, variable: str) -> Iterator[tuple[Where, int]]:
    """Yield every use of a variable, with the line inside its text."""
    texts: list[tuple[Where, str]] = [
        *words_of(spec.run),
        *((("run", "files", name), text) for name, text in spec.run.files),
        *((("run", "environment", name), text) for name, text in spec.run.environment),
    ]
    word = f"${{pltfrms.{variable}}}"
    for where, text in texts:
        if word in text:
            yield where, text.count("\n", 0, text.index(word))
