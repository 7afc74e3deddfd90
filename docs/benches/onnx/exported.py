"""A folder that `mtl export --onnx` made, answering texts under onnxruntime."""
import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

onnxruntime.set_default_logger_severity(3)


class Exported:
    def __init__(self, folder, suffix=".onnx", threads=0):
        self.folder = Path(folder)
        page = json.loads((self.folder / "tasks.json").read_text())
        self.tasks = {task["name"]: task for task in page["tasks"]}
        self.most = page["max_tokens"]
        self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.most)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        files = sorted({task["file"] for task in page["tasks"]})
        path = lambda file: self.folder / (file.removesuffix(".onnx") + suffix)
        provider = ["CPUExecutionProvider"]
        self.paths = [path(file) for file in files]
        self.sessions = {f: onnxruntime.InferenceSession(str(path(f)), options, providers=provider) for f in files}

    def encoded(self, task, row):
        """Token ids, token types, and where each word begins."""
        reads = self.tasks[task]["reads"]
        if reads == "pair":
            found = self.tokenizer.encode(row["text_a"], row["text_b"])
            return found.ids, found.type_ids, []
        if reads == "text":
            found = self.tokenizer.encode(row["text"])
            return found.ids, found.type_ids, []
        # Word by word: the answer for a word is the one at its first piece.
        before, after = self.tokenizer.encode("").ids[:1], self.tokenizer.encode("").ids[1:]
        ids, anchors = list(before), []
        for word in row["tokens"]:
            pieces = self.tokenizer.encode(word, add_special_tokens=False).ids
            if len(ids) + len(pieces) + len(after) > self.most:
                break
            anchors.append(len(ids))
            ids += pieces
        return ids + after, [0] * (len(ids) + len(after)), anchors

    def answers(self, task, rows, batch=32):
        """The outputs of `task`, one array a row: `[outputs]`, or `[words, outputs]`."""
        session, all_answers = self.sessions[self.tasks[task]["file"]], []
        wanted = {one.name for one in session.get_inputs()}
        for start in range(0, len(rows), batch):
            texts = [self.encoded(task, row) for row in rows[start : start + batch]]
            longest = max(len(ids) for ids, _, _ in texts)
            padded = lambda lists: np.array([[*one, *[0] * (longest - len(one))] for one in lists], dtype=np.int64)
            given = {
                "input_ids": padded([ids for ids, _, _ in texts]),
                "attention_mask": padded([[1] * len(ids) for ids, _, _ in texts]),
                "token_type_ids": padded([types for _, types, _ in texts]),
            }
            given = {name: array for name, array in given.items() if name in wanted}
            (output,) = session.run([task], given)
            for one, (_, _, anchors) in zip(output, texts):
                all_answers.append(one[anchors] if self.tasks[task]["reads"] == "tokens" else one)
        return all_answers
