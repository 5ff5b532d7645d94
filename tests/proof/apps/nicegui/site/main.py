"""A NiceGUI page on a FastAPI app: a button that counts, an upload, a download, a path that stops it."""

from fastapi import FastAPI
from nicegui import ui

app = FastAPI()


@app.get("/api/number")
async def number() -> dict[str, int]:
    return {"number": 7}


@ui.page("/")
def index() -> None:
    count = {"clicks": 0}

    def click() -> None:
        count["clicks"] += 1
        label.set_text(f"clicked {count['clicks']}")

    ui.button("Click", on_click=click).props("id=button")
    label = ui.label("not yet").props("id=label")
    ui.upload(on_upload=lambda event: label.set_text("uploaded"))
    ui.button("Get", on_click=lambda: ui.download.content(b"words", "words.txt"))


ui.run_with(app, storage_secret="a secret of the proof")
