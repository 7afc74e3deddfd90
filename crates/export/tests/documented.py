"""Runs the commands and the Python of a page, in their order: `python documented.py MTL PAGE FOLDER`.

Blocks marked `sh` run in a shell whose `mtl` is MTL, blocks marked `python` in this interpreter; each must succeed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

program, page, folder = (Path(argument).resolve() for argument in sys.argv[1:4])
folder.mkdir(parents=True, exist_ok=True)
tools = folder / ".tools"
tools.mkdir(exist_ok=True)
link = tools / "mtl"
link.unlink(missing_ok=True)
link.symlink_to(program)
environment = {
    **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "MTL_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false",
}
blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
assert blocks, f"{page}: no block to run"
for kind, text in blocks:
    command = ["bash", "-euo", "pipefail", "-c", text] if kind == "sh" else [sys.executable, "-c", text]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"{page.name}: this does not run:\n{text}\n{ended.stdout}{ended.stderr}")
print(f"{page.name}: {len(blocks)} blocks run")
