"""YAML spec files -> words of the model; every error at once, with file and line."""

from pltfrms.specfile.load import (
    check_job,
    check_platform,
    check_service,
    json_schema,
    lines_of,
    load_directory,
    load_file,
    load_jobs,
    load_lab,
    load_platform,
    load_service,
)
from pltfrms.specfile.reference import reference
from pltfrms.specfile.writing import service_text

__all__ = [
    "check_job",
    "check_platform",
    "check_service",
    "json_schema",
    "lines_of",
    "load_directory",
    "load_file",
    "load_jobs",
    "load_lab",
    "load_platform",
    "load_service",
    "reference",
    "service_text",
]
