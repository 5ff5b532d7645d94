"""A notebook with a slider."""

import marimo

app = marimo.App()


@app.cell
def first():
    import marimo as mo

    slider = mo.ui.slider(1, 10, label="how many")
    button = mo.ui.button(value=0, on_click=lambda value: value + 1, label="Count")
    mo.vstack([slider, button])
    return button, mo, slider


@app.cell
def second(button, mo, slider):
    mo.md(f"clicked {button.value}, slid {slider.value}")
    return


if __name__ == "__main__":
    app.run()
