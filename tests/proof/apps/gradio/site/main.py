"""A Gradio demo: a text that is turned around, a generator, a file that is measured."""

import os
import time

import gradio
from fastapi import FastAPI

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


def turn(text: str) -> str:
    return text[::-1]


def slowly(text: str):
    for end in range(1, len(text) + 1):
        time.sleep(0.01)
        yield text[:end]


def measure(file) -> int:
    return len(open(file, "rb").read())


with gradio.Blocks(analytics_enabled=False) as demo:
    words = gradio.Textbox("words", label="Words", elem_id="words")
    turned = gradio.Textbox(label="Turned", elem_id="turned")
    button = gradio.Button("Turn", elem_id="button")
    button.click(turn, words, turned, api_name="turn")
    gradio.Button("Slowly").click(slowly, words, turned, api_name="slowly")
    file = gradio.File()
    file.upload(measure, file, gradio.Number(), api_name="measure")

app = gradio.mount_gradio_app(FastAPI(), demo, path="/demo")
