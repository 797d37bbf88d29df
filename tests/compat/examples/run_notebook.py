"""Run a notebook. Prints the types of its outputs and its texts, one JSON document."""

import json
import sys

import nbformat  # pyright: ignore[reportMissingImports]
from nbclient import NotebookClient  # pyright: ignore[reportMissingImports]

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
types = [kind for output in outputs for kind in output.get("data", ())]
print(json.dumps({"types": types, "text": "".join(output.get("text", "") for output in outputs)}))  # noqa: T201
