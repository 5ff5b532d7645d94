"""Reports: one module per format, each with the same face, ``write(run, path)``, made from the run alone.

The JSON form (:mod:`.json`) is the published one; the others show the same facts in other shapes.
"""
