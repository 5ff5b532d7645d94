"""Applications of other people, bare on uvicorn and under `roadworthy run`: one journey, the same answers.

Each application is a package of its own here: `journey.py` says how it is served and walks through it,
`requirements.in` names it and `requirements.txt` pins it with all that it needs, `site/` is what is served
where the application is a library. What may differ is listed in `compare.py`, and nothing else may.
"""
