"""Datasette: tables, filters, JSON and CSV, a BLOB, a query that writes behind a CSRF token, errors."""

from ..application import Application
from ..visitor import Visitor


def journey(visitor: Visitor) -> None:
    """Read as a person and as a program, and write once."""
    visitor.page("/")
    visitor.page("/plants")
    visitor.page("/plants/plants?height__gt=20&_sort_desc=height&_facet=height")
    visitor.page("/plants/plants/7")
    visitor.get("/plants/plants/7.blob?_blob_column=photo")
    visitor.get("/plants/plants.json?_size=100&_shape=array")
    visitor.stream("/plants/plants.csv?_stream=on&_size=max", lambda line: line.startswith("300,"))
    visitor.get("/plants?sql=select+count(*)+from+plants")
    visitor.form("/plants/add", "csrftoken", name="fern", height="0.4")
    visitor.get("/plants/plants.json?name=fern&_shape=array")
    visitor.post("/plants/add", data={"name": "no token"})
    visitor.get("/plants/none")
    visitor.get("/plants/plants/7/")
    visitor.get("/-/versions.json")
    visitor.ask("HEAD", "/plants")
    visitor.ask("OPTIONS", "/plants")


APPLICATION = Application(
    journey,
    varies=(
        r'(query_ms"?: )[\d.]+',
        r"(Queries took )[\d.]+",
        r"(&middot;\s+)[\d.]+ms",
        r"(Cell contents: |)\b[\d.]+ ?ms\b",
    ),
)
