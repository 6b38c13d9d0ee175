"""Fill a template: the only place where Jinja2 is used."""

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=PackageLoader("pltfrms.render"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701 (BIRD's language is not HTML)
)


def prepare() -> None:
    """Read and compile every template now instead of when it is used first."""
    for template in _ENVIRONMENT.list_templates(extensions=["j2"]):
        _ENVIRONMENT.get_template(template)


def fill(template: str, **values: object) -> str:
    """Return the text of `templates/TEMPLATE` with the values filled in.

    A name that the template uses and nobody gave is an error, never an empty word.
    """
    return _ENVIRONMENT.get_template(template).render(**values)
