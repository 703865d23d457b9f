"""Time of the embedded network against open_clip's ViT-B/32 image tower, side by side on this machine.

    python benchmarks/model.py [--bundle NAME|FOLDER] [--batch 8] [--rounds 15]

Needs the extra `train`. Both run in ONNX Runtime with two threads; the tower has random weights, which costs the
same. Rounds alternate, so that another program's load falls on both; the table has the medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import open_clip
import torch
from cgiaa_training.export import sample

from cgiaa_cli import bundles
from cgiaa_cli.inference.engine import OUTPUTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", default="default")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = 2
    ours = onnxruntime.InferenceSession(str(bundles.load(options.bundle).encoder), session_options)
    as_a_scan = onnxruntime.RunOptions()
    as_a_scan.only_execute_path_to_fetches = True
    inputs = {name: value.numpy() for name, value in sample(options.batch).items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vit.onnx"
        tower = open_clip.create_model("ViT-B-32").visual.eval()
        photos = torch.rand(options.batch, 3, 224, 224)
        torch.onnx.export(tower, (photos,), path, input_names=["x"], dynamo=True, external_data=False, verbose=False)
        clip = onnxruntime.InferenceSession(str(path), session_options)
        runs = {
            "embedded": lambda: ours.run(OUTPUTS, inputs, as_a_scan),
            "ViT-B/32": lambda: clip.run(None, {"x": photos.numpy()}),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for round_ in range(options.rounds + 2):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                if round_ >= 2:  # the first ones warm up
                    times[name].append((time.perf_counter() - start) / options.batch * 1000)
    ratio = float(np.median([a / b for a, b in zip(times["embedded"], times["ViT-B/32"], strict=True)]))
    print("| network | ms a photo, 2 threads | of ViT-B/32 |\n|---|---|---|")
    print(f"| embedded | {statistics.median(times['embedded']):.1f} | {ratio:.2f} (goal: at most 0.40) |")
    print(f"| open_clip ViT-B/32, image tower | {statistics.median(times['ViT-B/32']):.1f} | 1 |")


if __name__ == "__main__":
    main()
